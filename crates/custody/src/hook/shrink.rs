//! Long texts cut, deep and endless values left out.

use custody_engine::host::cut;
use serde_json::Value;

/// Most items of one list or object.
const MAX_ITEMS: usize = 2_000;

/// Cuts every text of a value to `limit` bytes; says how many bytes are gone.
pub(super) fn shrink(value: &mut Value, limit: usize) -> u64 {
    match value {
        Value::String(text) => {
            let (kept, gone) = cut(text, limit);
            if gone > 0 {
                *text = kept;
            }
            gone
        }
        Value::Array(items) => {
            let gone: u64 = items.iter().skip(MAX_ITEMS).map(|item| item.to_string().len() as u64).sum();
            items.truncate(MAX_ITEMS);
            gone + items.iter_mut().map(|item| shrink(item, limit)).sum::<u64>()
        }
        Value::Object(fields) => {
            let extra: Vec<String> = fields.keys().skip(MAX_ITEMS).cloned().collect();
            let gone: u64 = extra.iter().filter_map(|key| fields.remove(key)).map(|value| value.to_string().len() as u64).sum();
            gone + fields.values_mut().map(|value| shrink(value, limit)).sum::<u64>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
