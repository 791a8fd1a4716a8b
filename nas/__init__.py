"""Neural architecture search and supernet training in JAX: the public names.

Importing this starts no array library; running an experiment does.
"""

from nas.api import Result as Result
from nas.api import load_run as load_run
from nas.api import load_subnet as load_subnet
from nas.api import run as run
from nas.data import StdlibText as StdlibText
from nas.errors import RunError as RunError
from nas.errors import UsageError as UsageError
from nas.experiment import Experiment as Experiment
from nas.experiment import Latency as Latency
from nas.experiment import Search as Search
from nas.experiment import Training as Training
from nas.front import Member as Member
from search.constraints import InfeasibleError as InfeasibleError
from search.nsga2 import Nsga2 as Nsga2
from search.random_search import RandomSearch as RandomSearch
from search.space import Architecture as Architecture
from search.space import Choice as Choice
from search.space import Depth as Depth
from search.space import Rule as Rule
from search.space import Space as Space
from supernets.decoder.spec import Decoder as Decoder
from supernets.optimizer import AdamW as AdamW
from supernets.sandwich import Sandwich as Sandwich
