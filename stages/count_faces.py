"""Count the faces on each image, and measure the share of the image inside their boxes.

Reads   source_images (list<binary>), and target_image (binary) where there is one
Writes  source_num_faces (int32), source_face_frac (float32, 0 to 1), target_num_faces (int32),
        target_face_frac (float32, 0 to 1); no value of a target without a target
Drops   nothing: `select` owns thresholds, so moving one never reruns the model
Source  chosen: a detector asked for faces, boxes that overlap counted once. It finds faces and tells nobody's name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from models.protocols import Detector
from pipeline.stage import MapStage, Serves
from stages.image_filters.areas import found_areas
from stages.image_filters.both_images import READS, READS_IF_PRESENT, columns_of, measure_both
from stages.image_filters.labels import Labels, check_known

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn
    from stages.image_filters.both_images import Measured

MEASURES = ("num_faces", "face_frac")


class CountFaces(MapStage):
    """Boxes of `phrases` on each image; of two boxes that overlap much the surer one counts."""

    version: ClassVar[int] = 1
    reads: ClassVar = READS
    reads_if_present: ClassVar = READS_IF_PRESENT
    writes: ClassVar = columns_of(*MEASURES)

    model: Annotated[str, Serves(Detector, only_scores=True)]
    """A Detector: `hf:IDEA-Research/grounding-dino-tiny@<commit>`, or one that was trained on faces."""
    phrases: Labels = Field(default=("human face",), min_length=1)
    """What is looked for. A detector with labels of its own needs some of these, such as `["face"]`."""
    threshold: float = Field(default=0.3, gt=0, le=1)
    """Least score of a box that is a face. Chosen for Grounding DINO."""
    max_iou: float = Field(default=0.5, ge=0, le=1)
    """Greatest overlap (intersection over union) of two boxes that count as two faces."""

    def open(self, ctx: Context) -> BatchFn:
        """Load the model once, and check the phrases against its labels, if it has any."""
        detector = ctx.load(Detector, self.model)
        check_known(detector, self.phrases, self.model)

        def measure(images: Any) -> Measured:
            areas = found_areas(detector, images, self.phrases, threshold=self.threshold, max_iou=self.max_iou)
            return dict(zip(MEASURES, zip(*areas, strict=True), strict=True))

        return measure_both(detector, MEASURES, measure)
