//! What is to be typed into an application or device, for people and for programs.

use super::doors::{self, Door};
use crate::{
    config::{App, Settings, entrance},
    mail::Name,
    secret::Secret,
};
use serde_json::json;
use std::path::Path;

/// How an app proves itself by a password.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum Password<'a> {
    /// It does not.
    None,
    /// By one that was made just now.
    Made(&'a Secret),
    /// By the one that the application has already.
    Kept,
}

/// What is to be typed into the application.
pub(in crate::cli) struct Typed<'a> {
    name: &'a Name,
    user: String,
    is_enabled: bool,
    /// What proves it where it has no password.
    shown: &'static str,
    password: Password<'a>,
    doors: Vec<Door>,
    warnings: Vec<String>,
}

impl<'a> Typed<'a> {
    pub(in crate::cli) fn new(settings: &Settings, name: &'a Name, password: Password<'a>) -> Self {
        let app = settings.apps.get(name);
        let shown = app.map_or_else(Vec::new, |app| entrance::shown(app, !matches!(password, Password::None)));
        Self {
            shown: app.map_or("", |app| known_by(app)),
            name,
            user: app.map(|app| app.user.clone()).unwrap_or_default(),
            is_enabled: app.is_none_or(|app| app.enabled),
            password,
            doors: doors::open(settings, &shown),
            warnings: doors::warnings(settings, &shown),
        }
    }

    pub(in crate::cli) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("\nto type into {}:", self.name)];
        for door in &self.doors {
            if self.doors.len() > 1 {
                lines.push(format!("  listener    {}", door.listener));
            }
            lines.extend(door_lines(door));
        }
        match self.password {
            Password::Made(password) => {
                lines.push(format!("  user name   {}", self.user));
                lines.push(format!("  password    {}", password.expose()));
                lines.push("\nthe password is shown this once".to_owned());
            }
            Password::Kept => {
                lines.push(format!("  user name   {}", self.user));
                lines.push("  password    the one that it has".to_owned());
            }
            Password::None => lines.push(format!("  no user name, no password: it is known by {}", self.shown)),
        }
        lines.extend(self.warnings.iter().map(|warning| format!("\nWARNING: {warning}")));
        if !self.is_enabled {
            lines.push(
                "\nit is switched off: without `enabled = false` in its file, and after `outlink reload`, it may send".to_owned(),
            );
        }
        lines
    }

    pub(in crate::cli) fn json(&self, file: &Path) -> serde_json::Value {
        let password = if let Password::Made(password) = self.password { Some(password.expose()) } else { None };
        let user = if let Password::None = self.password { None } else { Some(&self.user) };
        json!({"app": self.name.as_str(), "user": user, "password": password, "listeners": self.doors, "warnings": self.warnings,
            "file": file})
    }
}

fn door_lines(door: &Door) -> Vec<String> {
    let mut lines = match door.port {
        Some(port) => vec![format!("  host        {}", door.host), format!("  port        {port}")],
        None if door.host.starts_with("unix:") => {
            let path = door.host.trim_start_matches("unix:");
            return vec![format!("  socket      {path}; programs that call sendmail need nothing typed")];
        }
        None if door.host.starts_with("systemd:") => {
            let name = door.host.trim_start_matches("systemd:");
            vec![format!("  host, port  as ListenStream= of the systemd socket `{name}` says")]
        }
        None => vec![format!("  host        {}", door.host)],
    };
    let or_none = if door.encryption == "STARTTLS" && !door.encryption_needed { ", or none" } else { "" };
    lines.push(format!("  encryption  {}{or_none}", door.encryption));
    let is_near = door.reached_by.iter().all(|network| network.starts_with("127.") || network.starts_with("::1"));
    let reached_by = if is_near { "this machine alone".to_owned() } else { door.reached_by.join(", ") };
    lines.push(format!("  reached by  {reached_by}"));
    lines
}

/// What an app is known by that gives no password.
fn known_by(app: &App) -> &'static str {
    match (app.certificates.is_empty(), app.unix_users.is_empty()) {
        (false, _) => "its certificate",
        (true, false) => "its user on this machine",
        (true, true) => "its address",
    }
}
