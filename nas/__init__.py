"""Neural architecture search and supernet training in JAX: the public names.

Importing this starts no array library; running an experiment does.
"""

from nas.api import Result as Result
from nas.api import load_run as load_run
from nas.api import load_subnet as load_subnet
from nas.api import run as run
from nas.data.array_records import ArrayRecords as ArrayRecords
from nas.data.array_records import write_image_records as write_image_records
from nas.data.augmentation import Augmentation as Augmentation
from nas.data.digit_pairs import DigitPairs as DigitPairs
from nas.data.digit_tasks import DigitTasks as DigitTasks
from nas.data.digits import Digits as Digits
from nas.data.image_arrays import ImageArrays as ImageArrays
from nas.data.image_folder import ImageFolder as ImageFolder
from nas.data.reading import Reading as Reading
from nas.data.text import StdlibText as StdlibText
from nas.data.token_shards import TokenShards as TokenShards
from nas.errors import RunError as RunError
from nas.errors import UsageError as UsageError
from nas.experiment import Experiment as Experiment
from nas.experiment import Latency as Latency
from nas.experiment import Search as Search
from nas.experiment import Training as Training
from nas.finetuning import FineTune as FineTune
from nas.finetuning import Retrain as Retrain
from nas.front import Member as Member
from search.constrained_genetic import ConstrainedGenetic as ConstrainedGenetic
from search.constraints import InfeasibleError as InfeasibleError
from search.exhaustive import Exhaustive as Exhaustive
from search.fidelity import SuccessiveHalving as SuccessiveHalving
from search.local_search import LocalSearch as LocalSearch
from search.mix_and_match import MixAndMatch as MixAndMatch
from search.nsga2 import Nsga2 as Nsga2
from search.predictors import BestOf as BestOf
from search.predictors import Ensemble as Ensemble
from search.predictors import GaussianProcess as GaussianProcess
from search.predictors import Ridge as Ridge
from search.random_search import RandomSearch as RandomSearch
from search.regularized_evolution import RegularizedEvolution as RegularizedEvolution
from search.space import Architecture as Architecture
from search.space import Choice as Choice
from search.space import Depth as Depth
from search.space import Rule as Rule
from search.space import Space as Space
from search.surrogate import SurrogateEvolution as SurrogateEvolution
from search.tune_searcher import Optuna as Optuna
from search.tune_searcher import TuneSearcher as TuneSearcher
from supernets.decoder.spec import Decoder as Decoder
from supernets.gradient_search.samplings import Dirichlet as Dirichlet
from supernets.gradient_search.samplings import Gumbel as Gumbel
from supernets.gradient_search.samplings import Softmax as Softmax
from supernets.gradient_search.samplings import Sparsemax as Sparsemax
from supernets.gradient_search.specs import GradientSearch as GradientSearch
from supernets.gradient_search.specs import Multipliers as Multipliers
from supernets.losses.adversarial import (
    AdversarialDistillation as AdversarialDistillation,
)
from supernets.losses.adversarial import Trades as Trades
from supernets.losses.alpha_divergence import AlphaDivergence as AlphaDivergence
from supernets.losses.cross_entropy import CrossEntropy as CrossEntropy
from supernets.losses.distillation import Distillation as Distillation
from supernets.losses.exits import ExitLoss as ExitLoss
from supernets.losses.feature_distillation import (
    FeatureDistillation as FeatureDistillation,
)
from supernets.losses.losses import Losses as Losses
from supernets.losses.pgd import Pgd as Pgd
from supernets.multitask.spec import MultiTask as MultiTask
from supernets.multitask.spec import Task as Task
from supernets.optimizers.adafactor import Adafactor as Adafactor
from supernets.optimizers.adamw import AdamW as AdamW
from supernets.optimizers.lion import Lion as Lion
from supernets.optimizers.schedules import Constant as Constant
from supernets.optimizers.schedules import Cosine as Cosine
from supernets.optimizers.schedules import Linear as Linear
from supernets.optimizers.schedules import WarmupStableDecay as WarmupStableDecay
from supernets.optimizers.sgd import Sgd as Sgd
from supernets.phases import Phase as Phase
from supernets.policies.attentive import Attentive as Attentive
from supernets.policies.chain import Chain as Chain
from supernets.policies.full_or_subnet import FullOrSubnet as FullOrSubnet
from supernets.policies.largest_only import LargestOnly as LargestOnly
from supernets.policies.matformer import MatFormer as MatFormer
from supernets.policies.mean_budget import MeanBudget as MeanBudget
from supernets.policies.sandwich import Sandwich as Sandwich
from supernets.policies.sorted import Sorted as Sorted
from supernets.policies.uniform import Uniform as Uniform
from supernets.progressive import progressive as progressive
from supernets.quantization.precision import Precision as Precision
from supernets.regularization import Regularization as Regularization
from supernets.sharding.spec import Parallel as Parallel
from supernets.vision.spec import VisionTransformer as VisionTransformer
