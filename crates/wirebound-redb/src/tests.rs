//! What is tested with the store's own medium under it, and the contract over the real file.

mod contract;
mod crash;
mod damage;
mod fault;
mod opening;
mod tape;
