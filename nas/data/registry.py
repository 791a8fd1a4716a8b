"""Every data set that a recipe may name."""

from nas.data.array_records import ArrayRecords
from nas.data.digit_pairs import DigitPairs
from nas.data.digit_tasks import DigitTasks
from nas.data.digits import Digits
from nas.data.image_arrays import ImageArrays
from nas.data.image_folder import ImageFolder
from nas.data.text import StdlibText
from nas.data.token_shards import TokenShards

DataSpec = (
    StdlibText
    | Digits
    | DigitTasks
    | DigitPairs
    | ImageFolder
    | ImageArrays
    | ArrayRecords
    | TokenShards
)
