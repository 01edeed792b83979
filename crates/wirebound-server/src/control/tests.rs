//! The socket: who is heard, and what.
