"""Files of the same content."""

from fre_lightning.images.copies import find_copies


def test_files_of_the_same_content_are_found_and_no_others(tmp_path):
    contents = {
        "a": b"x" * 50_000,
        "b": b"y" * 50_000,
        "c": b"x" * 50_000,
        "d": b"x" * 9_000 + b"y" + b"x" * 40_999,  # differs where no part is looked at
        "e": b"short",
        "f": b"short",
        "g": b"other",
    }
    paths = [tmp_path / name for name in contents]
    for path in paths:
        path.write_bytes(contents[path.name])
    found = find_copies([*paths, tmp_path / "missing", tmp_path / "a"])
    assert [[path.name for path in group] for group in found] == [["a", "c"], ["e", "f"]]
