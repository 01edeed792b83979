//! Accepting and serving.
