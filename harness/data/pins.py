"""Digests of the files of data sets that are downloaded, as others publish them."""

from __future__ import annotations

from collections.abc import Mapping

UNPACKED: Mapping[str, Mapping[str, str]] = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}
"""SHA-256 of the decompressed bytes, by data set and file: of IDX files that many places have."""
SHA256: Mapping[str, Mapping[str, str]] = {
    "kmnist": {
        "train-images-idx3-ubyte.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "train-labels-idx1-ubyte.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "t10k-images-idx3-ubyte.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "t10k-labels-idx1-ubyte.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    },
    "emnist_letters": {"gzip.zip": "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"},
    "qmnist": {
        f"qmnist-{name}.gz": digest
        for name, digest in (
            ("train-images-idx3-ubyte", "9e26a7bf1683614e065d7b76460ccd52807165b3f22561fb782bd9f38c52b51d"),
            ("train-labels-idx2-int", "2c05dc77f6b916b38e455e97ab129a42a444f3dbef09b278a366f82904e0dd9f"),
            ("test-images-idx3-ubyte", "43fc22bf7498b8fc98de98369d72f752d0deabc280a43a7bcc364ab19e57b375"),
            ("test-labels-idx2-int", "9fbcbe594c3766fdf4f0b15c5165dc0d1e57ac604e01422608bb72c906030d06"),
        )
    },
    "cifar10": {
        "cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    },
}
"""SHA-256 of files that stay as their publishers have them, packed.

Source: TensorFlow Datasets, url_checksums/{kmnist,emnist,qmnist,cifar10}.txt.
"""
MD5: Mapping[str, Mapping[str, str]] = {
    "usps": {
        "usps.bz2": "ec16c51db3855ca6c91edd34d0e9b197",
        "usps.t.bz2": "8ea070ee2aca1ac39742fdd1ef5ed118",
    },
}
"""MD5 of files that stay as their publishers have them, of which no SHA-256 is published.

An MD5 tells damage, but no forgery. Source: torchvision, datasets/usps.py.
"""


def all_pins() -> dict[str, Mapping[str, str]]:
    """Give each data set's pins: the SHA-256 of unpacked bytes, "sha256:..." or "md5:..." of packed ones."""
    packed = [("sha256", SHA256), ("md5", MD5)]
    return {
        **UNPACKED,
        **{
            name: {file: f"{kind}:{digest}" for file, digest in of_files.items()}
            for kind, sets in packed
            for name, of_files in sets.items()
        },
    }
