"""MPDD, in the layout of MVTec AD."""

from fre_lightning.datasets.mvtec import MVTecLayout


class MPDD(MVTecLayout):
    """Metal Parts Defect Detection (Jezek et al., 2021), in the layout of MVTec AD.

    <https://github.com/stepanje/MPDD>: `bracket_black`, `bracket_brown`, `bracket_white`,
    `connector`, `metal_plate` and `tubes`. Its authors state no licence and ask to be cited.
    """

    title = "MPDD"
    page = "https://github.com/stepanje/MPDD"
    terms = "its authors state no licence and ask to be cited"
