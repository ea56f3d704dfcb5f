"""MVTec AD 2, whose public test images have labels."""

from fre_lightning.datasets.mvtec import MVTecLayout


class MVTecAD2(MVTecLayout):
    """MVTec AD 2 (Heckler-Kram et al., 2025), tested on its public test images.

    <https://www.mvtec.com/company/research/datasets/mvtec-ad-2>, under CC BY-NC-SA 4.0: `can`,
    `fabric`, `fruit_jelly`, `rice`, `sheet_metal`, `vial`, `wallplugs` and `walnuts`. On disk::

        <root>/<category>/train/good/*.png
        <root>/<category>/test_public/{good,bad}/*.png
        <root>/<category>/test_public/ground_truth/bad/<stem>_mask.png

    The good images in `validation/good` are neither learnt nor tested; the command `calibrate`
    takes them. Those in `test_private` and `test_private_mixed` have no labels; `predict` takes
    them.
    """

    title = "MVTec AD 2"
    page = "https://www.mvtec.com/company/research/datasets/mvtec-ad-2"
    terms = "CC BY-NC-SA 4.0, not for commercial use"
    test_dir = "test_public"
    mask_dir = "test_public/ground_truth"
