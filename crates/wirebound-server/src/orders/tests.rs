//! Orders on their way and carried out.
