//! Bytes to frames: a tolerant envelope over the raw bytes, stream decoders, splices.
