//! The sequence, case by case.
