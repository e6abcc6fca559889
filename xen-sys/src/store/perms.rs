// SPDX-License-Identifier: GPL-3.0-only
//! Who may do what with a node.

use crate::error::{Error, Result};
use crate::raw::libs::{XS_PERM_NONE, XS_PERM_READ, XS_PERM_WRITE, xs_permissions};
use crate::types::DomId;

/// One entry of a node's list.
///
/// In the first entry `domid` is the owner, who may do everything, and `access` is what all those may do whom no other
/// entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Whom it is about.
    pub domid: DomId,
    /// What they may do.
    pub access: PermissionAccess,
}

/// What may be done with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionAccess {
    /// Nothing.
    None,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Reading and writing.
    Both,
}

impl Permission {
    pub(super) fn from_raw(raw: &xs_permissions) -> Result<Self> {
        let domid = DomId::narrow(raw.id)
            .ok_or(Error::InvalidArgument { what: "daemon named a domain id over 16 bits" })?;
        // Further bits are the daemon's own.
        let access = match raw.perms & (XS_PERM_READ | XS_PERM_WRITE) {
            XS_PERM_NONE => PermissionAccess::None,
            XS_PERM_READ => PermissionAccess::Read,
            XS_PERM_WRITE => PermissionAccess::Write,
            _ => PermissionAccess::Both,
        };
        Ok(Self { domid, access })
    }

    pub(super) fn to_raw(self) -> xs_permissions {
        let perms = match self.access {
            PermissionAccess::None => XS_PERM_NONE,
            PermissionAccess::Read => XS_PERM_READ,
            PermissionAccess::Write => XS_PERM_WRITE,
            PermissionAccess::Both => XS_PERM_READ | XS_PERM_WRITE,
        };
        xs_permissions { id: self.domid.wide(), perms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_survive_the_way_to_c_and_back() {
        use PermissionAccess::{Both, None, Read, Write};
        for access in [None, Read, Write, Both] {
            let permission = Permission { domid: DomId::new(7), access };
            assert_eq!(Permission::from_raw(&permission.to_raw()).expect("valid"), permission);
        }
        assert!(Permission::from_raw(&xs_permissions { id: 1 << 16, perms: 0 }).is_err());
    }
}
