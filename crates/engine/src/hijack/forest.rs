//! Boosted trees: read from JSON, evaluated, and asked which columns moved them.

use serde::{Deserialize, Serialize};

/// Trees that may settle it, and below which sum they do.
const FIRST: usize = 10;
const FAR: f32 = -3.9;

/// One tree. In a file its nodes stand as columns; in memory what a walk needs of a node lies in one place.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(try_from = "Columns", into = "Columns")]
pub struct Tree {
    /// Parents before their children.
    pub nodes: Vec<Node>,
}

/// A node of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// Column that it asks for; -1 in a leaf.
    pub feature: i16,
    /// Left child; the right one follows it.
    pub left: u16,
    /// A value at or below goes left, a greater one right.
    pub threshold: f32,
    /// What a row that ends or passes here is worth.
    pub value: f32,
}

/// A tree as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns {
    feature: Vec<i16>,
    threshold: Vec<f32>,
    left: Vec<u16>,
    value: Vec<f32>,
}

impl TryFrom<Columns> for Tree {
    type Error = &'static str;

    fn try_from(columns: Columns) -> Result<Tree, &'static str> {
        let Columns { feature, threshold, left, value } = columns;
        let count = feature.len();
        if [threshold.len(), left.len(), value.len()] != [count; 3] {
            return Err("the columns of a tree differ in length");
        }
        let nodes =
            (0..count).map(|at| Node { feature: feature[at], left: left[at], threshold: threshold[at], value: value[at] }).collect();
        Ok(Tree { nodes })
    }
}

impl From<Tree> for Columns {
    fn from(tree: Tree) -> Columns {
        let nodes = tree.nodes.iter();
        Columns {
            feature: nodes.clone().map(|node| node.feature).collect(),
            threshold: nodes.clone().map(|node| node.threshold).collect(),
            left: nodes.clone().map(|node| node.left).collect(),
            value: nodes.map(|node| node.value).collect(),
        }
    }
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
            let nodes = tree.nodes.len();
            let fault = |node| ForestError::Tree { tree: number, node };
            if nodes == 0 {
                return Err(fault(0));
            }
            for (at, node) in tree.nodes.iter().enumerate() {
                let left = usize::from(node.left);
                let asks = usize::try_from(node.feature);
                if asks.is_ok_and(|column| column >= self.columns.len() || left <= at || left + 1 >= nodes) {
                    return Err(fault(at));
                }
            }
        }
        Ok(())
    }

    /// Logarithm of the odds.
    pub fn raw(&self, row: &[f32]) -> f32 {
        self.trees.iter().fold(self.bias, |sum, tree| sum + tree.walk(row))
    }

    /// Probability.
    pub fn probability(&self, row: &[f32]) -> f32 {
        let raw = self.raw(row);
        1.0 / (1.0 + (-raw).exp())
    }

    /// As [`Forest::probability`], but the first trees may settle it: most of what is read is far from speaking to anybody.
    pub fn quick_probability(&self, row: &[f32]) -> f32 {
        let (first, rest) = self.trees.split_at(self.trees.len().min(FIRST));
        let add = |sum: f32, tree: &Tree| sum + tree.walk(row);
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
            let mut node = &tree.nodes[0];
            while let Ok(column) = usize::try_from(node.feature) {
                let next = tree.next(node, column, row);
                moved[column] += next.value - node.value;
                node = next;
            }
        }
        moved
    }
}

impl Tree {
    fn next(&self, node: &Node, column: usize, row: &[f32]) -> &Node {
        &self.nodes[usize::from(node.left) + usize::from(row.get(column).copied().unwrap_or(0.0) > node.threshold)]
    }

    fn walk(&self, row: &[f32]) -> f32 {
        let mut node = &self.nodes[0];
        while let Ok(column) = usize::try_from(node.feature) {
            node = self.next(node, column, row);
        }
        node.value
    }
}
