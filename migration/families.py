"""Which family a motion module belongs to, as far as its file's name says."""

import re
from enum import Enum


class Family(str, Enum):
    """Families of motion modules that AnimateDiff-Evolved treats differently."""

    ANIMATELCM = "AnimateLCM"
    V1 = "AnimateDiff v1"
    V2 = "AnimateDiff v2"
    V3 = "AnimateDiff v3"
    OTHER_BASE = "SDXL or HotshotXL"
    PIA = "PIA"
    UNKNOWN = "unknown"


# The first that matches counts: published names, and those that sharing sites gave them
_NAMES = (
    (r"sdxl|hotshot|_xl|xl_", Family.OTHER_BASE),
    (r"animate_?lcm|sd15_t2v_beta|animatelcm", Family.ANIMATELCM),
    (r"\bpia\b|^pia", Family.PIA),
    (r"v3_?sd15|sd15_?v3|v3_sd", Family.V3),
    (r"v15_?v2|v1-5_v2|mm-p_|motion_v15v2", Family.V2),
    (r"mm_sd_v1[45]|mm-stabilized|temporaldiff|motion_v1[45]", Family.V1),
)


def family_of(file: str) -> Family:
    """Return the family of a motion module file by its name."""
    name = re.split(r"[/\\]", file)[-1].lower()
    return next((family for pattern, family in _NAMES if re.search(pattern, name)), Family.UNKNOWN)
