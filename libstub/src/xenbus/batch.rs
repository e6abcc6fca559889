// SPDX-License-Identifier: GPL-3.0-only
//! A transaction as data.

use xen_sys::{DomId, Permission, PermissionAccess};

/// Writes and removals that happen together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch(Vec<Op>);

/// One step of a [`Batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a node, with these permissions or those of its parent.
    Write {
        /// The node.
        path: String,
        /// Its value.
        value: Vec<u8>,
        /// Its permissions, if they are not its parent's.
        permissions: Option<Vec<Permission>>,
    },
    /// Removes a node and all below it; one that is not there is no failure.
    Remove {
        /// The node.
        path: String,
    },
    /// Removes a node that has nothing below it; any other stays, and one that is not there is no failure.
    RemoveEmpty {
        /// The node.
        path: String,
    },
}

impl Op {
    /// What is done, in one word.
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Write { .. } => "write",
            Self::Remove { .. } => "remove",
            Self::RemoveEmpty { .. } => "remove-empty",
        }
    }

    /// The node it is done to.
    pub fn path(&self) -> &str {
        let (Self::Write { path, .. } | Self::Remove { path } | Self::RemoveEmpty { path }) = self;
        path
    }
}

/// Who may do what with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// dom0's own.
    Hidden,
    /// dom0's own, readable by a domain.
    Readable(DomId),
    /// A domain's own.
    Own(DomId),
    /// A domain's own, readable by another.
    Shared(DomId, DomId),
}

impl Access {
    fn permissions(self) -> Vec<Permission> {
        let owner = |domid| Permission { domid, access: PermissionAccess::None };
        let reader = |domid| Permission { domid, access: PermissionAccess::Read };
        match self {
            Self::Hidden => vec![owner(DomId::DOM0)],
            Self::Readable(domid) => vec![owner(DomId::DOM0), reader(domid)],
            Self::Own(domid) => vec![owner(domid)],
            Self::Shared(domid, other) => vec![owner(domid), reader(other)],
        }
    }
}

impl Batch {
    /// The steps in order.
    pub fn ops(&self) -> &[Op] {
        &self.0
    }

    /// Writes a node that has its parent's permissions.
    pub(super) fn write(&mut self, path: impl Into<String>, value: impl AsRef<[u8]>) {
        self.0.push(Op::Write { path: path.into(), value: value.as_ref().to_vec(), permissions: None });
    }

    /// Writes a node with permissions of its own, which what is created below it inherits.
    pub(super) fn write_as(&mut self, path: impl Into<String>, value: impl AsRef<[u8]>, access: Access) {
        let permissions = Some(access.permissions());
        self.0.push(Op::Write { path: path.into(), value: value.as_ref().to_vec(), permissions });
    }

    /// Creates an empty node with permissions of its own.
    pub(super) fn node(&mut self, path: impl Into<String>, access: Access) {
        self.write_as(path, "", access);
    }

    /// Removes a node and all below it.
    pub(crate) fn remove(&mut self, path: impl Into<String>) {
        self.0.push(Op::Remove { path: path.into() });
    }

    /// Removes a node if nothing is below it.
    pub(crate) fn remove_empty(&mut self, path: impl Into<String>) {
        self.0.push(Op::RemoveEmpty { path: path.into() });
    }

    /// Does `other` after this.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}
