//! Gradient-boosted trees over histograms: logistic loss, grown leaf by leaf. Deterministic.

use custody_engine::hijack::{Forest, Node, Tree};

/// What a forest is grown with.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub trees: usize,
    pub leaves: usize,
    pub rate: f32,
    /// Least weight of a leaf, in second derivatives.
    pub least: f32,
    pub ridge: f32,
    /// Share of the columns that a tree may ask for.
    pub columns: f32,
    /// Share of the rows that a tree sees.
    pub rows: f32,
}

const BINS: usize = 48;

/// Rows of equal width with labels and weights.
#[derive(Default, Clone)]
pub struct Table {
    pub width: usize,
    pub values: Vec<f32>,
    pub labels: Vec<f32>,
    pub weights: Vec<f32>,
}

impl Table {
    pub fn push(&mut self, row: &[f32], label: bool, weight: f32) {
        assert!(self.width == 0 || self.width == row.len(), "rows of one width: {} and {}", self.width, row.len());
        self.width = row.len();
        self.values.extend_from_slice(row);
        self.labels.push(f32::from(u8::from(label)));
        self.weights.push(weight);
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 40) as f32) / ((1_u64 << 24) as f32)
    }
}

#[derive(Clone, Copy, Default)]
struct Sum {
    first: f32,
    second: f32,
}

struct Split {
    gain: f32,
    column: usize,
    bin: u8,
}

struct Leaf {
    node: usize,
    rows: std::ops::Range<usize>,
    sums: Vec<Sum>,
    all: Sum,
    best: Option<Split>,
}

/// Grows a forest.
pub fn fit(table: &Table, columns: Vec<String>, settings: Settings, seed: u64) -> Forest {
    let rows = table.len();
    let edges: Vec<Vec<f32>> = (0..table.width).map(|column| edges(table, column)).collect();
    // Column by column, so that one column's histogram reads in a row.
    let mut binned = vec![0_u8; rows * table.width];
    for row in 0..rows {
        for column in 0..table.width {
            let value = table.values[row * table.width + column];
            binned[row * table.width + column] = u8::try_from(edges[column].partition_point(|edge| *edge < value)).unwrap_or(u8::MAX);
        }
    }
    let total: f32 = table.weights.iter().sum();
    let positive: f32 = table.weights.iter().zip(&table.labels).map(|(weight, label)| weight * label).sum();
    let rate = (positive / total.max(1e-6)).clamp(1e-4, 1.0 - 1e-4);
    let bias = (rate / (1.0 - rate)).ln();
    let mut scores = vec![bias; rows];
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut trees = Vec::new();
    for _ in 0..settings.trees {
        let grads: Vec<Sum> = (0..rows)
            .map(|row| {
                let p = 1.0 / (1.0 + (-scores[row]).exp());
                Sum { first: (table.labels[row] - p) * table.weights[row], second: (p * (1.0 - p)).max(1e-6) * table.weights[row] }
            })
            .collect();
        let asked: Vec<usize> = (0..table.width).filter(|_| random.next() < settings.columns).collect();
        let seen: Vec<u32> = (0..rows as u32).filter(|_| random.next() < settings.rows).collect();
        if asked.is_empty() || seen.is_empty() {
            continue;
        }
        let (tree, bins) = grow(table.width, &binned, &edges, &grads, &asked, seen, settings);
        for (row, score) in scores.iter_mut().enumerate() {
            *score += walk(&tree, &bins, &binned[row * table.width..(row + 1) * table.width]);
        }
        trees.push(tree);
    }
    Forest { columns, bias, trees }
}

fn edges(table: &Table, column: usize) -> Vec<f32> {
    let step = (table.len() / 20_000).max(1);
    let mut values: Vec<f32> = (0..table.len()).step_by(step).map(|row| table.values[row * table.width + column]).collect();
    values.sort_unstable_by(f32::total_cmp);
    let mut distinct = values.clone();
    distinct.dedup();
    let mut edges: Vec<f32> = if distinct.len() <= BINS {
        distinct.windows(2).map(|pair| pair[0] + (pair[1] - pair[0]) / 2.0).collect()
    } else {
        (1..BINS).map(|at| values[at * (values.len() - 1) / BINS]).collect()
    };
    // Thresholds are written with few digits; they are used as written.
    edges.iter_mut().for_each(|edge| *edge = format!("{edge:.4}").parse().unwrap());
    edges.dedup();
    edges
}

/// As the finished tree walks, on bins: a fourth of the memory.
fn walk(tree: &Tree, bins: &[u8], row: &[u8]) -> f32 {
    let mut at = 0;
    loop {
        let node = &tree.nodes[at];
        let Ok(column) = usize::try_from(node.feature) else { return node.value };
        at = usize::from(node.left) + usize::from(row[column] > bins[at]);
    }
}

fn grow(
    width: usize,
    binned: &[u8],
    edges: &[Vec<f32>],
    grads: &[Sum],
    asked: &[usize],
    mut rows: Vec<u32>,
    settings: Settings,
) -> (Tree, Vec<u8>) {
    let mut tree = Tree::default();
    let mut bins: Vec<u8> = Vec::new();
    let value = |sum: Sum| ((sum.first / (sum.second + settings.ridge) * settings.rate) * 1e5).round() / 1e5;
    let histogram = |rows: &[u32]| {
        let mut sums = vec![Sum::default(); asked.len() * BINS];
        for row in rows {
            let grad = grads[*row as usize];
            let line = &binned[*row as usize * width..][..width];
            for (slot, column) in asked.iter().enumerate() {
                let sum = &mut sums[slot * BINS + line[*column] as usize];
                sum.first += grad.first;
                sum.second += grad.second;
            }
        }
        sums
    };
    let best = |sums: &[Sum], all: Sum| {
        let mut best: Option<Split> = None;
        let worth = |sum: Sum| sum.first * sum.first / (sum.second + settings.ridge);
        for (slot, column) in asked.iter().enumerate() {
            let mut left = Sum::default();
            for bin in 0..edges[*column].len() {
                let sum = sums[slot * BINS + bin];
                left.first += sum.first;
                left.second += sum.second;
                let right = Sum { first: all.first - left.first, second: all.second - left.second };
                if left.second < settings.least || right.second < settings.least {
                    continue;
                }
                let gain = worth(left) + worth(right) - worth(all);
                if gain > best.as_ref().map_or(1e-3, |best| best.gain) {
                    best = Some(Split { gain, column: *column, bin: bin as u8 });
                }
            }
        }
        best
    };
    let add = |tree: &mut Tree, sum: Sum| tree.nodes.push(Node { feature: -1, left: 0, threshold: 0.0, value: value(sum) });
    let all = rows.iter().fold(Sum::default(), |sum, row| {
        let grad = grads[*row as usize];
        Sum { first: sum.first + grad.first, second: sum.second + grad.second }
    });
    add(&mut tree, all);
    let sums = histogram(&rows);
    let split = best(&sums, all);
    let mut leaves = vec![Leaf { node: 0, rows: 0..rows.len(), sums, all, best: split }];
    for _ in 1..settings.leaves {
        let Some(at) = (0..leaves.len()).filter(|at| leaves[*at].best.is_some()).max_by(|a, b| {
            let gain = |at: usize| leaves[at].best.as_ref().map_or(0.0, |split| split.gain);
            gain(*a).total_cmp(&gain(*b)).then(b.cmp(a))
        }) else {
            break;
        };
        let leaf = leaves.swap_remove(at);
        let split = leaf.best.unwrap();
        let part = &mut rows[leaf.rows.clone()];
        let goes_left = |row: &u32| binned[*row as usize * width + split.column] <= split.bin;
        let (lefts, rights): (Vec<u32>, Vec<u32>) = part.iter().copied().partition(goes_left);
        part[..lefts.len()].copy_from_slice(&lefts);
        part[lefts.len()..].copy_from_slice(&rights);
        let middle = leaf.rows.start + lefts.len();
        let small_is_left = lefts.len() < rights.len();
        let small = histogram(if small_is_left { &lefts } else { &rights });
        let large: Vec<Sum> =
            leaf.sums.iter().zip(&small).map(|(a, b)| Sum { first: a.first - b.first, second: a.second - b.second }).collect();
        let (left_sums, right_sums) = if small_is_left { (small, large) } else { (large, small) };
        let slot = asked.iter().position(|column| *column == split.column).unwrap();
        let left_all = left_sums[slot * BINS..(slot + 1) * BINS]
            .iter()
            .fold(Sum::default(), |sum, one| Sum { first: sum.first + one.first, second: sum.second + one.second });
        let right_all = Sum { first: leaf.all.first - left_all.first, second: leaf.all.second - left_all.second };
        let node = tree.nodes.len();
        tree.nodes[leaf.node].feature = split.column as i16;
        bins.resize(node, 0);
        bins[leaf.node] = split.bin;
        tree.nodes[leaf.node].threshold = edges[split.column][split.bin as usize];
        tree.nodes[leaf.node].left = node as u16;
        add(&mut tree, left_all);
        add(&mut tree, right_all);
        let left_best = best(&left_sums, left_all);
        let right_best = best(&right_sums, right_all);
        leaves.push(Leaf { node, rows: leaf.rows.start..middle, sums: left_sums, all: left_all, best: left_best });
        leaves.push(Leaf { node: node + 1, rows: middle..leaf.rows.end, sums: right_sums, all: right_all, best: right_best });
    }
    bins.resize(tree.nodes.len(), 0);
    (tree, bins)
}
