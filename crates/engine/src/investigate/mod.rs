//! Timeline and injection source (I1, I2).
