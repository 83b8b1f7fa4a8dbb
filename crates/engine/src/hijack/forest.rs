//! Boosted trees: read from JSON, evaluated, and asked which columns moved them.

use serde::{Deserialize, Serialize};

/// Trees that may settle it, and below which sum they do.
const FIRST: usize = 10;
const FAR: f32 = -3.9;

/// One tree, as columns of its nodes. A leaf has no feature.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Column that a node asks for; -1 in a leaf.
    pub feature: Vec<i16>,
    /// A value at or below goes left, a greater one right.
    pub threshold: Vec<f32>,
    /// Left child; the right one follows it.
    pub left: Vec<u16>,
    /// What a row that ends or passes here is worth.
    pub value: Vec<f32>,
}

/// Trees whose values are added; the sum is the logarithm of the odds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forest {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Logarithm of the odds before any tree.
    pub bias: f32,
    /// The trees.
    pub trees: Vec<Tree>,
}

/// A file that is no forest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForestError {
    /// Not the JSON of a model.
    #[error("no model: {0}")]
    Json(String),
    /// Another number of steps.
    #[error("a model of {found} forests")]
    Stages {
        /// How many it has.
        found: usize,
    },
    /// A node points outside its tree or back, or asks for a column that is not there.
    #[error("tree {tree} is not well formed at node {node}")]
    Tree {
        /// Which tree.
        tree: usize,
        /// Which node.
        node: usize,
    },
}

impl Forest {
    /// Checks that every walk ends and reads what is there.
    ///
    /// # Errors
    /// The first node that does not.
    pub fn check(&self) -> Result<(), ForestError> {
        for (number, tree) in self.trees.iter().enumerate() {
            let nodes = tree.feature.len();
            let fault = |node| ForestError::Tree { tree: number, node };
            if nodes == 0 || tree.threshold.len() != nodes || tree.left.len() != nodes || tree.value.len() != nodes {
                return Err(fault(0));
            }
            for node in 0..nodes {
                let left = usize::from(tree.left[node]);
                let asks = usize::try_from(tree.feature[node]);
                if asks.is_ok_and(|column| column >= self.columns.len() || left <= node || left + 1 >= nodes) {
                    return Err(fault(node));
                }
            }
        }
        Ok(())
    }

    /// Logarithm of the odds.
    pub fn raw(&self, row: &[f32]) -> f32 {
        self.trees.iter().fold(self.bias, |sum, tree| sum + tree.value[tree.walk(row)])
    }

    /// Probability.
    pub fn probability(&self, row: &[f32]) -> f32 {
        let raw = self.raw(row);
        1.0 / (1.0 + (-raw).exp())
    }

    /// As [`Forest::probability`], but the first trees may settle it: most of what is read is far from speaking to anybody.
    pub fn quick_probability(&self, row: &[f32]) -> f32 {
        let (first, rest) = self.trees.split_at(self.trees.len().min(FIRST));
        let add = |sum: f32, tree: &Tree| sum + tree.value[tree.walk(row)];
        let mut raw = first.iter().fold(self.bias, add);
        if raw > FAR {
            raw = rest.iter().fold(raw, add);
        }
        1.0 / (1.0 + (-raw).exp())
    }

    /// What each column moved on the way, in logarithm of the odds.
    pub fn moved(&self, row: &[f32]) -> Vec<f32> {
        let mut moved = vec![0.0; self.columns.len()];
        for tree in &self.trees {
            let mut node = 0;
            while let Ok(column) = usize::try_from(tree.feature[node]) {
                let next = tree.next(node, column, row);
                moved[column] += tree.value[next] - tree.value[node];
                node = next;
            }
        }
        moved
    }
}

impl Tree {
    fn next(&self, node: usize, column: usize, row: &[f32]) -> usize {
        usize::from(self.left[node]) + usize::from(row.get(column).copied().unwrap_or(0.0) > self.threshold[node])
    }

    fn walk(&self, row: &[f32]) -> usize {
        let mut node = 0;
        while let Ok(column) = usize::try_from(self.feature[node]) {
            node = self.next(node, column, row);
        }
        node
    }
}
