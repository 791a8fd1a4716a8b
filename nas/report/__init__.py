"""The report of a run: one self-contained page and a picture of the front."""

from nas.report.data import Axis as Axis
from nas.report.data import Campaign as Campaign
from nas.report.data import Curve as Curve
from nas.report.data import Evaluated as Evaluated
from nas.report.data import Extreme as Extreme
from nas.report.data import Landmark as Landmark
from nas.report.data import LatencyError as LatencyError
from nas.report.data import LatencyFit as LatencyFit
from nas.report.data import LatencySample as LatencySample
from nas.report.data import Member as Member
from nas.report.data import PhaseMark as PhaseMark
from nas.report.data import PredictorScore as PredictorScore
from nas.report.data import PredictorTest as PredictorTest
from nas.report.data import ReportData as ReportData
from nas.report.page import write_report as write_report
