"""MVTec LOCO AD, in the layout of MVTec AD with several masks for an image."""

from fre_lightning.datasets.mvtec import MVTecLayout


class MVTecLOCO(MVTecLayout):
    """MVTec LOCO AD (Bergmann et al., 2022): logical and structural anomalies.

    <https://www.mvtec.com/company/research/datasets/mvtec-loco>, under CC BY-NC-SA 4.0:
    `breakfast_box`, `juice_bottle`, `pushpins`, `screw_bag` and `splicing_connectors`. On disk::

        <root>/<category>/train/good/*.png
        <root>/<category>/test/{good,logical_anomalies,structural_anomalies}/*.png
        <root>/<category>/ground_truth/<anomalies>/<stem>/000.png, 001.png, ...

    Each mask marks one anomaly of an image; together they are its defect. Their sPRO, which
    saturates at areas that the authors give for each anomaly, is not computed. The good images in
    `validation/good` are neither learnt nor tested; the command `calibrate` takes them.
    """

    title = "MVTec LOCO AD"
    page = "https://www.mvtec.com/company/research/datasets/mvtec-loco"
    terms = "CC BY-NC-SA 4.0, not for commercial use"
