// SPDX-License-Identifier: GPL-3.0-only
//! Libraries that glibc itself opens at run time, told by the functions that a program calls.

use crate::elf::Dynamic;

/// Who calls one of these functions makes the C library open this one.
#[derive(Debug)]
pub(super) struct Rule {
    imports: &'static [&'static str],
    /// What is opened.
    pub opens: &'static str,
    /// Not so if the C library exports this, for then it has the code itself.
    pub unless: Option<&'static str>,
}

/// Came with glibc 2.34, which has these libraries in itself.
const MERGED: &str = "__nss_files_data_open";

/// Converters between character sets are not among them: QEMU converts between none.
const RULES: [Rule; 3] = [
    // Stacks are unwound by the compiler's library; without it the process is ended.
    Rule { imports: &["backtrace", "pthread_cancel", "pthread_exit"], opens: "libgcc_s.so.1", unless: None },
    // Names of users and of hosts, before glibc 2.34.
    Rule {
        imports: &[
            "getaddrinfo",
            "getgrgid",
            "getgrnam",
            "gethostbyname",
            "getpwnam",
            "getpwuid",
            "initgroups",
        ],
        opens: "libnss_files.so.2",
        unless: Some(MERGED),
    },
    Rule { imports: &["getaddrinfo", "gethostbyname"], opens: "libnss_dns.so.2", unless: Some(MERGED) },
];

/// The rules that hold for an object.
pub(super) fn that_apply(dynamic: &Dynamic) -> impl Iterator<Item = &'static Rule> {
    RULES.iter().filter(|rule| rule.imports.iter().any(|function| dynamic.imports.contains(*function)))
}
