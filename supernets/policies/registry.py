"""Every policy that a recipe may name."""

from supernets.policies.attentive import Attentive
from supernets.policies.chain import Chain
from supernets.policies.full_or_subnet import FullOrSubnet
from supernets.policies.largest_only import LargestOnly
from supernets.policies.matformer import MatFormer
from supernets.policies.mean_budget import MeanBudget
from supernets.policies.sandwich import Sandwich
from supernets.policies.sorted import Sorted
from supernets.policies.uniform import Uniform

PolicySpec = (
    Sandwich
    | Attentive
    | Chain
    | FullOrSubnet
    | LargestOnly
    | MatFormer
    | MeanBudget
    | Sorted
    | Uniform
)
