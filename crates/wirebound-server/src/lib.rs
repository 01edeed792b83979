//! The gateway: what stands between a browser and an app that knows nothing of Wirebound.

pub mod armour;
pub mod hygiene;
pub mod proxy;
pub mod vouch;
pub mod websocket;
