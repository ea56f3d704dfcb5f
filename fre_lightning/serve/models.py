"""The data of the server's answers, which `/openapi.json` describes."""

from pydantic import BaseModel, Field


class BoxAnswer(BaseModel):
    """A rectangle in pixels of the image: columns x0 to x1 - 1, rows y0 to y1 - 1."""

    x0: int
    y0: int
    x1: int
    y1: int


class PictureAnswer(BaseModel):
    """A data URI."""

    image: str = Field(description="The image as the detector reads it, JPEG")


class PicturesAnswer(PictureAnswer):
    """Data URIs of two pictures of one size, to be laid over each other."""

    heat_map: str = Field(description="PNG, transparent where nothing stands out")


class Answer(BaseModel):
    """The judgement of an image."""

    score: float = Field(description="The image score; higher is more anomalous")
    p_value: float | None = Field(
        description="The share of normal images that score at least this high"
    )
    threshold: float | None = Field(description="Above it an image is called defective")
    is_defective: bool | None = Field(description="Null if there is no threshold")
    pixel_threshold: float | None = Field(description="Few normal images' maps exceed it anywhere")
    box: BoxAnswer | None = Field(description="Of the hottest region above the pixel threshold")
    width: int = Field(description="Of the image, in pixels")
    height: int
    pictures: PicturesAnswer | None = Field(description="If asked for with `pictures=true`")


class ClassAnswer(BaseModel):
    """The class of an image, and whether it is one of the known classes at all."""

    label: str = Field(description="The class that it is taken for")
    confidence: float = Field(description="The softmax probability of that class")
    score: float = Field(description="How little it is like known images")
    p_value: float | None = Field(
        description="The share of held-out known images that score at least this high"
    )
    is_unknown: bool | None = Field(description="Null if no known images were held out")
    width: int = Field(description="Of the image, in pixels")
    height: int
    pictures: PictureAnswer | None = Field(description="If asked for with `pictures=true`")


class Health(BaseModel):
    """The served detector."""

    status: str
    version: str
    task: str = Field(description="`defects`; or `ood`: which class, and whether it is known")
    detector: str
    image_size: tuple[int, int]
    false_alarm_rate: float
    threshold: float | None = Field(None, description="Of image scores, if defects are looked for")
    method: str | None = Field(None, description="That decides whether an image is known")
    classes: list[str] | None = Field(None, description="That are known")
