//! What an operator is told to do: by a name that documentation, log searches and scripts refer to, and in words.

use std::{borrow::Cow, fmt};

/// Advice about one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// Kebab-case, of the advice tables; empty where no table has it.
    pub name: Cow<'static, str>,
    /// Cause and next step, with the names and ids of the case.
    pub text: String,
}

impl Advice {
    /// The name, if it has one.
    pub fn name(&self) -> Option<&str> {
        Some(self.name.as_ref()).filter(|name| !name.is_empty())
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<String> for Advice {
    fn from(text: String) -> Self {
        Self { name: Cow::Borrowed(""), text }
    }
}

impl From<&str> for Advice {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}
