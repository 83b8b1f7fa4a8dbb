//! Transparency log: leaf, tree, tiles, checkpoint, proof, signed note.
