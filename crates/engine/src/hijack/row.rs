//! One line of numbers that a model reads, with the names of its columns where somebody asks for them.

/// Values in a fixed order; the names are collected only where they are wanted.
#[derive(Debug, Default, Clone)]
pub struct Row {
    /// The columns.
    pub values: Vec<f32>,
    names: Option<Vec<String>>,
}

impl Row {
    /// A row that remembers the names of its columns.
    pub fn named() -> Row {
        Row { values: Vec::new(), names: Some(Vec::new()) }
    }

    /// The names of the columns, where they were asked for.
    pub fn into_names(self) -> Vec<String> {
        self.names.unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.values.clear();
        if let Some(names) = &mut self.names {
            names.clear();
        }
    }

    pub(super) fn put(&mut self, name: &str, value: f32) {
        self.values.push(value);
        if let Some(names) = &mut self.names {
            names.push(name.to_owned());
        }
    }

    pub(super) fn put_of(&mut self, group: &str, name: &str, value: f32) {
        self.values.push(value);
        if let Some(names) = &mut self.names {
            names.push(format!("{group}.{name}"));
        }
    }

    pub(super) fn flag(&mut self, name: &str, value: bool) {
        self.put(name, f32::from(u8::from(value)));
    }
}

/// A count as a number; large ones lose what nobody needs.
pub(super) fn num(count: usize) -> f32 {
    f32::from(u16::try_from(count).unwrap_or(u16::MAX))
}

/// `a / b`, or zero.
pub(super) fn share(a: f32, b: f32) -> f32 {
    if b > 0.0 { a / b } else { 0.0 }
}
