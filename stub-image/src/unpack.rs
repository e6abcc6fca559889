// SPDX-License-Identifier: GPL-3.0-only
//! Undoes the compressions that kernels and their modules come in, told apart by their first bytes.

use std::io::{self, Read as _};

/// A way of compressing, as the kernel's build offers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Lz4,
    Xz,
    Zstd,
}

const MAGIC: [(Packing, &[u8]); 4] = [
    (Packing::Gzip, &[0x1f, 0x8b]),
    // The kernel's build uses the frame that the `lz4` tool calls legacy.
    (Packing::Lz4, &[0x02, 0x21, 0x4c, 0x18]),
    (Packing::Xz, &[0xfd, b'7', b'z', b'X', b'Z', 0]),
    (Packing::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]),
];

/// What `bytes` unpack to; nothing if they are in no known format. Bytes after the packed ones are left alone.
pub fn unpack(bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let Some((packing, _)) = MAGIC.iter().find(|(_, magic)| bytes.starts_with(magic)) else {
        return Ok(None);
    };
    let mut to = Vec::new();
    match packing {
        Packing::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut to)?,
        Packing::Lz4 => lz4_flex::frame::FrameDecoder::new(bytes).read_to_end(&mut to)?,
        Packing::Xz => lzma_rust2::XzReader::new(bytes, false).read_to_end(&mut to)?,
        Packing::Zstd => zstd::Decoder::new(bytes)?.single_frame().read_to_end(&mut to)?,
    };
    Ok(Some(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// What a tool of the kernel's build makes of `bytes`; nothing where it is not installed.
    fn packed(tool: &str, arguments: &[&str], bytes: &[u8]) -> Option<Vec<u8>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let output = Command::new(tool)
            .args(arguments)
            .arg(file.path())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .ok()?;
        assert!(output.status.success(), "{tool}");
        Some(output.stdout)
    }

    #[test]
    fn what_the_tools_of_a_kernel_build_pack_is_unpacked() {
        let text = "a kernel, over and over; ".repeat(100_000).into_bytes();
        let tools: [(&str, &[&str]); 3] = [
            ("gzip", &["-c"]),
            ("xz", &["-c", "--check=crc32", "--x86", "--lzma2=dict=32MiB"]),
            ("zstd", &["-q", "-c", "-19"]),
        ];
        let mut seen = 0;
        for (tool, arguments) in tools {
            let Some(packed) = packed(tool, arguments, &text) else { continue };
            assert_eq!(unpack(&packed).unwrap().as_deref(), Some(text.as_slice()), "{tool}");
            seen += 1;
        }
        assert_ne!(seen, 0, "not even gzip is there");
    }

    #[test]
    fn lz4_in_its_legacy_frame_is_unpacked() {
        let text = "a kernel, over and over; ".repeat(1_000_000).into_bytes();
        let mut packed = vec![0x02, 0x21, 0x4c, 0x18];
        for block in text.chunks(8 << 20) {
            let block = lz4_flex::block::compress(block);
            packed.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
            packed.extend(block);
        }
        assert_eq!(unpack(&packed).unwrap().as_deref(), Some(text.as_slice()));
    }

    #[test]
    fn what_is_not_packed_or_broken_is_told_apart() {
        assert_eq!(unpack(b"\x7fELF").unwrap(), None);
        assert!(unpack(&[0x1f, 0x8b, 1, 2, 3]).is_err());
    }
}
