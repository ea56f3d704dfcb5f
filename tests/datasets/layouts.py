"""The layouts of datasets as published, made small: each maker fills a folder."""

import json
from pathlib import Path

from tests.datasets.files import save_images, save_masks, write

SIX = [f"{i}.png" for i in (3, 0, 5, 1, 4, 2)]


REAL_IAD = [
    *[("train", "OK")] * 3,
    *[("test", kind) for kind in ("HS", "OK", "AK", "OK", "HS")],
]


def make_layout(root: Path, good: str, test: str, truth: str, bad: tuple[str, ...]) -> None:
    """A category in the layout of MVTec AD with other names, its masks called `<stem>_mask`."""
    save_images(root / "train" / good, *SIX)
    save_images(root / test / good, "1.png", "0.png")
    for kind in bad:
        save_images(root / test / kind, "1.png", "0.png")
        save_masks(root / truth / kind, "0_mask.png", "1_mask.png")


def make_folder(root: Path) -> dict[str, object]:
    save_images(root / "good", *SIX)
    for defect_type in ("scratch", "dent"):
        save_images(root / defect_type, "1.png", "0.png")
        save_masks(root / "masks" / defect_type, "0.png", "1.png")
    return {"test_fraction": 0.4}


def make_mvtec(root: Path) -> dict[str, object]:
    make_layout(root / "bottle", "good", "test", "ground_truth", ("scratch", "dent"))
    return {"category": "bottle"}


def make_mtd(root: Path) -> dict[str, object]:
    for kind in ("Free", "Blowhole", "Break", "Crack", "Fray", "Uneven"):
        stems = [name.removesuffix(".png") for name in (SIX if kind == "Free" else SIX[:2])]
        save_images(root / f"MT_{kind}/Imgs", *(f"{stem}.jpg" for stem in stems))
        save_masks(root / f"MT_{kind}/Imgs", *(f"{stem}.png" for stem in stems))
    return {"test_fraction": 0.4}


def make_mpdd(root: Path) -> dict[str, object]:
    make_layout(root / "tubes", "good", "test", "ground_truth", ("anomalous", "bent"))
    return {"category": "tubes"}


def make_btad(root: Path) -> dict[str, object]:
    save_images(root / "03/train/ok", *(f"000{i}.bmp" for i in (3, 0, 2, 1)))
    save_images(root / "03/test/ok", "0001.bmp", "0000.bmp")
    save_images(root / "03/test/ko", "0001.bmp", "0000.bmp")
    save_masks(root / "03/ground_truth/ko", "0000.png", "0001.bmp")
    return {"category": "03"}


def make_mvtec_ad2(root: Path) -> dict[str, object]:
    make_layout(root / "can", "good", "test_public", "test_public/ground_truth", ("bad",))
    for folder in ("validation/good", "test_private", "test_private_mixed"):
        save_images(root / "can" / folder, "000_regular.png")
    return {}


def make_mvtec_loco(root: Path) -> dict[str, object]:
    folder = root / "pushpins"
    make_layout(folder, "good", "test", "unused", ("logical_anomalies", "structural_anomalies"))
    for kind in ("logical_anomalies", "structural_anomalies"):
        save_masks(folder / "ground_truth" / kind / "0", "001.png", "000.png")
        save_masks(folder / "ground_truth" / kind / "1", "000.png")
    save_images(folder / "validation/good", "000.png")
    return {"category": "pushpins"}


def make_visa(root: Path) -> dict[str, object]:
    rows, data = ["object,split,label,image,mask"], "candle/Data"
    for i in (3, 0, 4, 1, 2):
        save_images(root / data / "Images/Normal", f"000{i}.JPG")
        split = "train" if i < 3 else "test"
        rows.append(f"candle,{split},normal,{data}/Images/Normal/000{i}.JPG,")
    for i in (1, 0):
        save_images(root / data / "Images/Anomaly", f"00{i}.JPG")
        save_masks(root / data / "Masks/Anomaly", f"00{i}.png", level=i + 1)
        paths = f"{data}/Images/Anomaly/00{i}.JPG,{data}/Masks/Anomaly/00{i}.png"
        rows.append(f"candle,test,anomaly,{paths}")
    rows.append("pcb1,train,normal,pcb1/Data/Images/Normal/0000.JPG,")
    write(root / "split_csv/1cls.csv", "\n".join(rows))
    return {}


def make_kolektor_sdd(root: Path) -> dict[str, object]:
    for part in ("kos02", "kos01"):
        save_images(root / part, *(f"Part{i}.jpg" for i in range(4)))
        save_masks(root / part, "Part2_label.bmp")
        save_masks(root / part, *(f"Part{i}_label.bmp" for i in (0, 1, 3)), level=0)
    return {"test_fraction": 0.4}


def make_kolektor_sdd2(root: Path) -> dict[str, object]:
    for half, first in (("train", 10300), ("test", 20000)):
        for i in range(first, first + 5):
            is_defective = i % 3 == 0
            save_images(root / half, f"{i}.png")
            save_masks(root / half, f"{i}_GT.png", level=255 * is_defective)
    save_images(root / "train", "10301 (copy).png")
    save_masks(root / "train", "10301_GT (copy).png", level=0)
    return {}


def make_dagm(root: Path) -> dict[str, object]:
    for half in ("Train", "Test"):
        folder = root / "Class1" / half
        save_images(folder, *(f"057{i}.PNG" for i in (2, 0, 3, 1, 4)))
        save_masks(folder / "Label", "0571_label.PNG", "0574_label.PNG")
        write(folder / "Label/Labels.txt", "1\n576\t0\t0576.PNG\t0\t0\n")
    return {}


def make_real_iad(root: Path) -> dict[str, object]:
    entries: dict[str, list[dict[str, object]]] = {"train": [], "test": []}
    for i, (split, kind) in enumerate(REAL_IAD):
        folder = "OK" if kind == "OK" else f"NG/{kind}"
        stem = f"{folder}/S000{i}/audiojack_000{i}_{kind}_C1_20231023"
        save_images((root / "realiad_1024/audiojack" / stem).parent, f"{Path(stem).name}.jpg")
        mask = None if kind == "OK" else f"{stem}.png"
        if mask:
            save_masks((root / "realiad_1024/audiojack" / mask).parent, Path(mask).name)
        entry = {"anomaly_class": kind, "image_path": f"{stem}.jpg", "mask_path": mask}
        entries[split].append({"category": "audiojack"} | entry)
    content = {"meta": {"prefix": "audiojack/", "normal_class": "OK"}} | entries
    write(root / "realiad_jsons/realiad_jsons/audiojack.json", json.dumps(content))
    return {}


def make_aitex(root: Path) -> dict[str, object]:
    save_images(root / "NODefect_images/2306881-210020u", *(f"000{i}_000_00.png" for i in range(5)))
    save_images(root / "NODefect_images/2306894-210033u", "0018_00_01.png")
    save_images(root / "Defect_images", "0044_019_00.png", "0001_002_00.png", "0100_025_08.png")
    masks = ("0044_019_00_mask1.png", "0044_019_00_mask2.png", "0001_002_00_mask.png")
    save_masks(root / "Mask_images", *masks)
    return {"test_fraction": 0.4}


def make_elpv(root: Path) -> dict[str, object]:
    probabilities = (0.0, 1.0, 0.3333333333333333, 0.0, 0.6666666666666666, 0.0, 0.0, 0.0)
    save_images(root / "images", *(f"cell000{i}.png" for i in range(9)))
    rows = [f"images/cell000{i}.png  {p}  mono" for i, p in enumerate(probabilities)]
    write(root / "labels.csv", "\n".join([*rows, "images/cell0008.png  0.0  poly"]))
    return {"test_fraction": 0.4}


def make_csv(root: Path) -> dict[str, object]:
    save_images(root / "any", *SIX)
    save_masks(root / "truth", "1.png")
    rows = [f"any/{i}.png,{'good' if i else 'dent'},train," for i in (3, 0, 4, 2)]
    rows += ["any/1.png,dent,test,truth/1.png", "any/5.png,ok,test,"]
    write(root / "table.csv", "\n".join(["path,label,split,mask", *rows]))
    return {}


def make_synthetic(_: Path) -> dict[str, object]:
    return {"image_size": 32, "n_train": 4, "n_test_good": 2, "n_test_defective": 5}


MAKERS = {
    "aitex": make_aitex,
    "btad": make_btad,
    "csv": make_csv,
    "dagm": make_dagm,
    "elpv": make_elpv,
    "folder": make_folder,
    "kolektor_sdd": make_kolektor_sdd,
    "kolektor_sdd2": make_kolektor_sdd2,
    "mpdd": make_mpdd,
    "mtd": make_mtd,
    "mvtec": make_mvtec,
    "mvtec_ad2": make_mvtec_ad2,
    "mvtec_loco": make_mvtec_loco,
    "real_iad": make_real_iad,
    "synthetic": make_synthetic,
    "visa": make_visa,
}
"""By the name of the YAML; each returns the settings that it needs beside the root."""
