"""Clips inside zip and tar files: the frames and keys of the unpacked files, and what is refused."""

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from grey_clips import WriteClip
from PIL import Image as Picture

from rft.data.frames import ClipError
from rft.data.shards import media_exists
from rft.data.video import clip_key, content_of, decode
from rft.types import Image, Media, Video, VideoSampling

SAMPLING = VideoSampling(2.0, 4, 8, 784, 784, 7840)


def zipped(folder: Path, *files: Path) -> Path:
    with zipfile.ZipFile(folder / "shard.zip", "w") as archive:
        for file in files:
            archive.write(file, f"inside/{file.name}")
    return folder / "shard.zip"


def tarred(folder: Path, *files: Path) -> Path:
    with tarfile.open(folder / "shard.tar", "w") as archive:
        for file in files:
            archive.add(file, f"./inside/{file.name}")
    return folder / "shard.tar"


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_gives_the_frames_of_its_file(
    tmp_path: Path, write_clip: WriteClip, pack: Callable[..., Path]
) -> None:
    clip, other, picture = write_clip("a.mp4", num_frames=30), write_clip("b.mkv", num_frames=20), tmp_path / "i.png"
    Picture.fromarray(np.full((60, 80, 3), 77, np.uint8)).save(picture)
    shard = pack(tmp_path, clip, other, picture)
    for file in (clip, other, picture):
        inside = Path(f"{shard}::inside/{file.name}")
        assert media_exists(inside)
        media: tuple[Media, Media] = (Video(file, SAMPLING), Video(inside, SAMPLING))
        if file is picture:
            media = (Image(file, 784, 7840), Image(inside, 784, 7840))
        assert content_of(media[0]) == content_of(media[1])
        whole, member = (decode(one) for one in media)
        assert clip_key(media[0]) == clip_key(media[1])
        assert member.timestamps_s == whole.timestamps_s
        np.testing.assert_array_equal(member.pixels, whole.pixels)
    # Nothing was unpacked beside the shard.
    assert {file.name for file in tmp_path.rglob("*")} == {clip.name, other.name, picture.name, shard.name}


def test_a_shard_that_is_written_again_is_read_again(tmp_path: Path, write_clip: WriteClip) -> None:
    clip = write_clip("a.mp4", num_frames=30)
    shard = zipped(tmp_path, clip)
    before = content_of(Video(Path(f"{shard}::inside/a.mp4"), SAMPLING))
    shutil.copy(write_clip("other.mp4", num_frames=20), clip)
    zipped(tmp_path, clip)
    assert content_of(Video(Path(f"{shard}::inside/a.mp4"), SAMPLING)) != before


def test_what_cannot_be_read_in_place(tmp_path: Path, write_clip: WriteClip) -> None:
    clip = write_clip("a.mp4", num_frames=30)
    with zipfile.ZipFile(tmp_path / "small.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(clip, "a.mp4")
        archive.writestr(zipfile.ZipInfo("empty.mp4"), b"")
    with tarfile.open(tmp_path / "links.tar", "w") as links:
        link = tarfile.TarInfo("out.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        links.addfile(link)
    (tmp_path / "no.zip").write_bytes(b"PK and no more")
    (tmp_path / "cut.tar").write_bytes(tarred(tmp_path, clip).read_bytes()[:1024])
    # A directory that states another size than the member has: 24 bytes after the entry's mark.
    entries = bytearray(zipped(tmp_path, clip).read_bytes())
    mark = entries.index(b"PK\x01\x02")
    entries[mark + 24 : mark + 28] = (1 << 31).to_bytes(4, "little")
    (tmp_path / "long.zip").write_bytes(entries)
    for name, message in {
        "small.zip::a.mp4": "is compressed. Make the shard with `zip -0`",
        "small.zip::empty.mp4": "empty file",
        "small.zip::../a.mp4": "video not found",
        "gone.zip::a.mp4": "video not found",
        "links.tar::out.mp4": "is no ordinary file",
        "no.zip::a.mp4": "not a readable .zip file",
        "cut.tar::inside/a.mp4": "not a readable .tar file",
        "long.zip::inside/a.mp4": "the shard is cut short",
        "small.tar.gz::a.mp4": "video not found",
    }.items():
        with pytest.raises(ClipError) as caught:
            decode(Video(tmp_path / name, SAMPLING))
        assert message in str(caught.value)
