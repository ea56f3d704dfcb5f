"""BTAD, nearly in the layout of MVTec AD."""

from fre_lightning.datasets.mvtec import MVTecLayout


class BTAD(MVTecLayout):
    """BeanTech Anomaly Detection (Mishra et al., 2021): the products `01`, `02` and `03`.

    <https://github.com/pankajmishra000/VT-ADL>, under CC BY-SA 4.0. On disk, images as bmp or png,
    and masks as png, of `03` as bmp::

        <root>/<product>/train/ok/*
        <root>/<product>/test/{ok,ko}/*
        <root>/<product>/ground_truth/ko/<stem>.*
    """

    title = "BTAD"
    page = "https://github.com/pankajmishra000/VT-ADL"
    terms = "CC BY-SA 4.0"
    good_name = "ok"
