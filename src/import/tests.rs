//! The readers at once: files as the programs write them, and what comes of them.

use super::*;
