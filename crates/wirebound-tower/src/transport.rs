//! Is the peer alive?
