// SPDX-License-Identifier: GPL-3.0-only
//! The kernel as the ELF file that Xen's domain builder loads, out of whatever it comes in.
//!
//! The builder also takes a bzImage, and then decompresses it at every start; this does so once. What no start loads
//! (symbols, relocations, the section table) is left out. Xen's notes, which tell a PV or PVH kernel's entry, are in a
//! segment.

use std::path::Path;

use goblin::elf::Elf;
use goblin::elf::program_header::{PT_LOAD, PT_NOTE};

use crate::{ImageError, unpack};

/// Offsets in the header of a bzImage, from `Documentation/x86/boot.rst`.
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
/// Without these, from protocol 2.08 on, there is no telling where the payload is.
const MAGIC_VALUE: &[u8] = b"HdrS";
const SECTOR: usize = 512;
/// The build appends the unpacked size, except to gzip, which has it already.
const SIZE_FIELD: usize = 4;
/// Fields of a 64-bit ELF header: where the section table is; its entries, and which of them has the names.
const SECTION_TABLE: std::ops::Range<usize> = 0x28..0x30;
const SECTION_COUNTS: std::ops::Range<usize> = 0x3c..0x40;
const NOTE_OWNER: &[u8] = b"Xen\0";
/// Kinds of Xen's notes (`public/elfnote.h`): where a PV kernel begins, and a PVH one.
pub(super) const PV_ENTRY: u32 = 1;
pub(super) const PVH_ENTRY: u32 = 18;
const BANNER: &[u8] = b"Linux version ";

/// A kernel that is ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vmlinux {
    /// The ELF file.
    pub elf: Vec<u8>,
    /// What it calls its release.
    pub release: String,
}

/// Makes it of `bytes`, a bzImage or an ELF file, called `path` in errors.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Vmlinux, ImageError> {
    let unusable = |reason: String| ImageError::Kernel { path: path.to_owned(), reason };
    let whole = match payload(bytes) {
        Some(payload) => {
            let unpacked = unpack::unpack(payload)
                .or_else(|error| match payload.len().checked_sub(SIZE_FIELD) {
                    Some(end) => unpack::unpack(&payload[..end]).map_err(|_| error),
                    None => Err(error),
                })
                .map_err(|error| unusable(format!("its payload does not unpack: {error}")))?;
            unpacked.ok_or_else(|| {
                unusable(
                    "its payload is packed in a way that is not known; gzip, lz4, xz and zstd are".into(),
                )
            })?
        }
        None => bytes.to_vec(),
    };
    let elf = loadable(whole).map_err(unusable)?;
    let release = release(&elf).ok_or_else(|| unusable("it does not tell its release".into()))?;
    Ok(Vmlinux { elf, release })
}

/// The packed kernel in a bzImage; nothing if `bytes` are none.
fn payload(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.get(MAGIC..MAGIC + MAGIC_VALUE.len())? != MAGIC_VALUE {
        return None;
    }
    let field = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let start = (usize::from(*bytes.get(SETUP_SECTORS)?) + 1) * SECTOR + field(PAYLOAD_OFFSET)?;
    bytes.get(start..start.checked_add(field(PAYLOAD_LENGTH)?)?)
}

/// The ELF file without what is behind its segments.
fn loadable(mut file: Vec<u8>) -> Result<Vec<u8>, String> {
    let elf =
        Elf::parse(&file).map_err(|error| format!("it is neither a bzImage nor an ELF file: {error}"))?;
    if !elf.is_64 {
        return Err("it is not for x86-64".into());
    }
    let segments = |kind| elf.program_headers.iter().filter(move |header| header.p_type == kind);
    // Stubdomains are PV domains so far.
    if !xen_notes(&elf, &file).contains(&PV_ENTRY) {
        return Err("it has no entry for PV domains of Xen (CONFIG_XEN_PV makes it)".into());
    }
    let end = segments(PT_LOAD).chain(segments(PT_NOTE)).map(|header| header.file_range().end).max();
    let end = end.filter(|end| *end <= file.len() && *end >= SECTION_COUNTS.end);
    file.truncate(end.ok_or("its segments end behind its end")?);
    file[SECTION_TABLE].fill(0);
    file[SECTION_COUNTS].fill(0);
    Ok(file)
}

/// The kinds of the notes for Xen in a kernel that [`read`] made.
pub(super) fn notes(kernel: &Vmlinux) -> Vec<u32> {
    Elf::parse(&kernel.elf).map(|elf| xen_notes(&elf, &kernel.elf)).unwrap_or_default()
}

fn xen_notes(elf: &Elf<'_>, file: &[u8]) -> Vec<u32> {
    let headers = elf.program_headers.iter().filter(|header| header.p_type == PT_NOTE);
    let segments = headers.filter_map(|header| file.get(header.file_range()));
    segments.flat_map(|segment| kinds(segment).unwrap_or_default()).collect()
}

/// The kinds of Xen's among these notes, which are read until the first broken one.
fn kinds(mut notes: &[u8]) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    while let Some((header, rest)) = notes.split_first_chunk::<12>() {
        let word = |at: usize| Some(u32::from_le_bytes(header[at..at + 4].try_into().ok()?));
        let size = |at: usize| usize::try_from(word(at)?).ok()?.checked_next_multiple_of(4);
        let (owner, value) = (size(0)?, size(4)?);
        if rest.starts_with(NOTE_OWNER) {
            found.push(word(8)?);
        }
        notes = rest.get(owner.checked_add(value)?..).unwrap_or_default();
    }
    Some(found)
}

/// What follows `Linux version ` in the kernel's banner.
fn release(kernel: &[u8]) -> Option<String> {
    let places = kernel.windows(BANNER.len()).enumerate().filter(|(_, window)| *window == BANNER);
    places.map(|(at, _)| &kernel[at + BANNER.len()..]).find_map(|rest| {
        let end = rest.iter().take(100).position(|byte| *byte == b' ')?;
        // A format such as `%s` is no release.
        rest[0].is_ascii_digit().then(|| String::from_utf8(rest[..end].to_vec()).ok())?
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write as _;

    /// Whose notes Xen reads.
    pub(crate) const XEN: &[u8] = NOTE_OWNER;

    /// An ELF file with one segment of each kind, and something behind them.
    pub(crate) fn vmlinux(owner: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64 + 2 * 56];
        file[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(16, &[2, 0, 62, 0, 1, 0, 0, 0]);
        put(32, &64_u64.to_le_bytes());
        put(52, &[64, 0, 56, 0, 2, 0]);
        let notes = [&[4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], owner].concat();
        let text = b"..Linux version %s..Linux version 6.1.0-9 (you)..";
        for (index, (kind, at, size)) in
            [(PT_LOAD, 176, text.len()), (PT_NOTE, 176 + text.len(), notes.len())].into_iter().enumerate()
        {
            let header = 64 + index * 56;
            put(header, &kind.to_le_bytes());
            for (offset, value) in [(8, at), (32, size), (40, size)] {
                put(header + offset, &u64::try_from(value).unwrap().to_le_bytes());
            }
        }
        file.extend(text);
        file.extend(notes);
        file
    }

    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 3 * SECTOR];
        file[SETUP_SECTORS] = 1;
        file[MAGIC..MAGIC + 4].copy_from_slice(MAGIC_VALUE);
        file[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&512_u32.to_le_bytes());
        let length = u32::try_from(payload.len()).unwrap();
        file[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        file.extend(payload);
        file
    }

    #[test]
    fn a_bzimage_and_its_elf_file_give_the_same_kernel_without_what_is_not_loaded() {
        let kept = vmlinux(NOTE_OWNER);
        let whole = [kept.clone(), b"symbols".to_vec()].concat();
        let plain = read(Path::new("vmlinux"), &whole).unwrap();
        assert_eq!(plain, Vmlinux { elf: kept, release: "6.1.0-9".into() });
        let mut gzip = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&whole).unwrap();
        let zstd = zstd::encode_all(whole.as_slice(), 1).unwrap();
        let sized = [zstd, u32::try_from(whole.len()).unwrap().to_le_bytes().to_vec()].concat();
        for payload in [gzip.finish().unwrap(), sized] {
            assert_eq!(read(Path::new("vmlinuz"), &bzimage(&payload)).unwrap(), plain);
        }
    }

    #[test]
    fn notes_are_told_apart_by_owner_and_kind() {
        let note = |owner: &[u8], kind: u32, value: &[u8]| {
            let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
            let mut note = [size(owner), size(value), kind.to_le_bytes()].concat();
            for bytes in [owner, value] {
                note.extend(bytes);
                note.resize(note.len().next_multiple_of(4), 0);
            }
            note
        };
        let notes =
            [note(b"Xen\0", 6, b"linux\0"), note(b"GNU\0", 3, &[1; 20]), note(b"Xen\0", PVH_ENTRY, &[0; 8])];
        assert_eq!(kinds(&notes.concat()).unwrap(), [6, PVH_ENTRY]);
        assert_eq!(kinds(&note(b"Xen\0", PV_ENTRY, &[])[..15]).unwrap(), [PV_ENTRY; 0]);
    }

    #[test]
    fn a_kernel_that_xen_cannot_start_is_refused() {
        let refused = |bytes: &[u8]| read(Path::new("k"), bytes).unwrap_err().to_string();
        assert!(refused(&vmlinux(b"GNU\0")).contains("no entry for PV domains"));
        assert!(refused(b"text").contains("neither a bzImage nor an ELF file"));
        assert!(refused(&bzimage(b"????????")).contains("packed in a way that is not known"));
        let mut cut = vmlinux(NOTE_OWNER);
        cut.truncate(cut.len() - 1);
        assert!(read(Path::new("k"), &cut).is_err());
    }
}
