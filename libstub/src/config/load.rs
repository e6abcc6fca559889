// SPDX-License-Identifier: GPL-3.0-only
//! Reads a config, with what a command line says on top of it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::fault::{ConfigError, Fault, Mark, Severity};
use super::source::Source;
use super::{GuestConfig, keys, merge, syntax};

/// Far more than any config has.
const MAX_BYTES: u64 = 1 << 16;

/// What stands for the file of an override in messages.
const OVERRIDE: &str = "--set";

/// A config that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The config.
    pub config: GuestConfig,
    /// What its author should know.
    pub warnings: Vec<Fault>,
}

impl GuestConfig {
    /// Reads an xl.cfg file and checks it, and the files it names, without touching Xen.
    ///
    /// # Errors
    /// Every fault of the file at once, each with its place.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::read_with(file, &[]).map(|loaded| loaded.config)
    }

    /// Reads an xl.cfg file, in which each of `overrides`, a `KEY=VALUE`, replaces the file's own key.
    ///
    /// An override is an assignment of xl.cfg, so `+=` adds; but what is no value of xl.cfg is a string, so that
    /// `name=web2` needs no quotes.
    ///
    /// # Errors
    /// Every fault of file and overrides at once, each with its place.
    pub fn read_with(file: &Path, overrides: &[String]) -> Result<Loaded, ConfigError> {
        let text = bytes(file).map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
        let text = String::from_utf8(text).map_err(|_| ConfigError::NotText { file: file.to_owned() })?;
        let Loaded { config, warnings } = Self::parse_with(&text, file, overrides)?;
        Ok(Loaded { config: Self { source: std::path::absolute(file).ok(), ..config }, warnings })
    }

    /// Reads the text of an xl.cfg file; `file` is its name in messages.
    ///
    /// # Errors
    /// Every fault of the text at once, each with its place.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        Self::parse_with(text, file, &[]).map(|loaded| loaded.config)
    }

    /// As [`read_with`](Self::read_with), of a text.
    ///
    /// # Errors
    /// Every fault of text and overrides at once, each with its place.
    pub fn parse_with(text: &str, file: &Path, overrides: &[String]) -> Result<Loaded, ConfigError> {
        let mut sources = vec![Source::new(file, text.strip_prefix('\u{feff}').unwrap_or(text))];
        sources.extend(overrides.iter().map(|text| Source::new(Path::new(OVERRIDE), text)));
        let mut faults = Vec::new();
        let mut assignments = syntax::parse(sources[0].text, 0, &mut faults);
        for (index, source) in sources.iter().enumerate().skip(1) {
            assignments.extend(syntax::parse_override(source.text, index, &mut faults));
        }
        let settings = merge::merge(assignments, &sources, &mut faults);
        let config = keys::interpret(&settings, &sources, &mut faults);
        let wrong = faults.iter().any(|mark| mark.severity == Severity::Error);
        faults.sort_by_key(|mark| mark.span);
        let faults = faults.into_iter().map(|mark: Mark| mark.locate(&sources)).collect();
        match config {
            Some(config) if !wrong => Ok(Loaded { config, warnings: faults }),
            _ => Err(ConfigError::Faults(faults)),
        }
    }
}

fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(io::Error::other(format!("it has more than {} KiB", MAX_BYTES / 1024)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Code;

    const TEXT: &str = "name = 'a'\nmemory = 64\ndevice_model_args = [ '-a' ]\n";

    fn load(overrides: &[&str]) -> Result<Loaded, ConfigError> {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        GuestConfig::parse_with(TEXT, Path::new("g.cfg"), &overrides)
    }

    fn faults(overrides: &[&str]) -> Vec<Fault> {
        match load(overrides) {
            Err(ConfigError::Faults(faults)) => faults,
            other => panic!("no faults: {other:?}"),
        }
    }

    #[test]
    fn an_override_replaces_what_the_file_says() {
        let loaded = load(&["name=web2", "memory = 128", "vcpus=0x2", "boot = \"dc\""]).expect("valid");
        assert_eq!(loaded.warnings, vec![]);
        let config = loaded.config;
        assert_eq!((config.name.as_str(), config.memory.get()), ("web2", 128 * 1024));
        assert_eq!((config.vcpus, config.boot.as_str()), (2, "dc"));
    }

    #[test]
    fn an_override_can_add() {
        let config = load(&["device_model_args+=['-b', \"-c\"]"]).expect("valid").config;
        assert_eq!(config.stubdom.qemu_args, ["-a", "-b", "-c"]);
    }

    #[test]
    fn a_fault_of_an_override_is_shown_in_its_own_text() {
        let faults = faults(&["memory=64", "memroy=1", "hdtype=achi", "x", "disk=['", "vcpus='1' 2"]);
        let got: Vec<(&str, usize, usize, Code)> =
            faults.iter().map(|fault| (fault.text.as_str(), fault.line, fault.column, fault.code)).collect();
        let want = [
            ("memroy=1", 1, 1, Code::ConfigUnknownKey),
            ("hdtype=achi", 1, 8, Code::ConfigValue),
            ("x", 1, 1, Code::ConfigSyntax),
            ("disk=['", 1, 7, Code::ConfigSyntax),
            ("vcpus='1' 2", 1, 11, Code::ConfigSyntax),
        ];
        assert_eq!(got, want);
        assert!(faults.iter().all(|fault| fault.file == Path::new("--set")));
        assert_eq!(faults[1].suggestion.as_deref(), Some("ahci"));
    }

    #[test]
    fn the_last_of_two_values_counts_and_a_warning_tells_so() {
        let text = "name = 'a'\nmemory = 64\nmemory = 32\n";
        let loaded = GuestConfig::parse_with(text, Path::new("g.cfg"), &[]).expect("valid");
        assert_eq!(loaded.config.memory.get(), 32 * 1024);
        let warning = loaded.warnings[0].to_string();
        assert!(
            warning.starts_with("g.cfg:3:1: warning[config-duplicate]: `memory` is set again"),
            "{warning}"
        );
        assert!(warning.contains("line 2"), "{warning}");
        assert_eq!(load(&["vcpus=1", "vcpus=2"]).expect("valid").warnings.len(), 1);
    }

    #[test]
    fn a_file_that_never_ends_is_not_read_to_its_end() {
        let error = GuestConfig::read(Path::new("/dev/zero")).expect_err("endless");
        assert!(matches!(error, ConfigError::Unreadable { .. }), "{error:?}");
    }
}
