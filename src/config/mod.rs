//! File text and environment ↔ settings that cannot be wrong (design §6).
//!
//! Layer 3. `Settings` exists only when every fault is mended; all faults are reported at once.

mod settings;

pub use settings::{
    Allowed, App, Auth, ClientAuthentication, Delivery, Http, Link, Listener, ListenerLimits, ListenerTls, Log, LogFormat,
    Mailbox, SecretError, SecretSource, Server, Settings, WhenFromDiffers,
};
