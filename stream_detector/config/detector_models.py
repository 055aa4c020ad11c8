"""The section `detector`: one model for each kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field

from stream_detector.config.base import Model, Name


class _DetectorModel(Model):
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Seed of every random draw.")


class Autoencoder(_DetectorModel):
    """MLPRegressor learnt from X to X; the score is the log of the reconstruction error."""

    kind: Literal["autoencoder"] = "autoencoder"
    hidden: list[Annotated[int, Field(ge=1, le=4096)]] | None = Field(
        None, description="Hidden layer sizes; default d/2, d/3, d/2 of d features."
    )
    learning_rate: float = Field(0.001, gt=0, le=1, description="Adam's step size.")
    alpha: float = Field(0.0001, ge=0, description="L2 penalty on the weights.")
    passes: int = Field(1, ge=1, le=100, description="Steps of learning over each chunk.")
    input_dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of the inputs hidden while it learns (denoising)."
    )
    refuse_share: float = Field(
        0.05, ge=0, lt=0.5, description="Share of highest-scoring rows that are not learnt."
    )
    clip: float = Field(10.0, gt=0, description="Standardised inputs are clipped at ± this.")


class Classifier(_DetectorModel):
    """MLPClassifier learnt from labels that arrive late; before them, an unsupervised detector."""

    kind: Literal["classifier"] = "classifier"
    hidden: list[Annotated[int, Field(ge=1, le=4096)]] = Field(
        default=[32, 16], description="Hidden layer sizes."
    )
    learning_rate: float = Field(0.002, gt=0, le=1, description="Adam's step size.")
    alpha: float = Field(0.01, ge=0, description="L2 penalty on the weights.")
    replay: int = Field(
        25, ge=1, le=1000, description="Rows drawn from those kept to learn for each new one."
    )
    replay_rows: int = Field(
        20_000, ge=256, le=1_000_000, description="Labelled rows kept to be learnt again."
    )
    trees: bool = Field(
        True,
        description="Whether boosted trees, fitted again from time to time on the rows kept, score "
        "beside the network; their weight follows from the losses of late.",
    )
    rarity: bool = Field(
        False,
        description="Whether the unsupervised detector goes on, and its score is a feature.",
    )
    positive_share: float = Field(
        0.1, gt=0, le=0.5, description="Share of positives in a batch, reached by resampling."
    )
    resampling: Literal["none", "over", "under"] = Field(
        "none",
        description="How the positive share is reached where it is higher than the kept rows'; the "
        "score is corrected for it. `none`: they are learnt as they come.",
    )
    min_positives: int = Field(
        20, ge=1, description="Positives to have seen before the classifier takes over."
    )
    clip: float = Field(20.0, gt=0, description="Standardised inputs are clipped at ± this.")


class River(_DetectorModel):
    """Any River anomaly detector or binary classifier, one event at a time."""

    kind: Literal["river"] = "river"
    model: Name = Field(description="Class path, for example `river.anomaly.HalfSpaceTrees`.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Its parameters.")
    scaling: Literal["standard", "minmax", "none"] = Field(
        "standard", description="What the model is given: z-scores, 0..1 by running range, or raw."
    )


class HalfSpaceForest(_DetectorModel):
    """Oblivious half-space forest: grids of random cuts whose counts are hardly forgotten."""

    kind: Literal["half_space_forest"] = "half_space_forest"
    trees: int = Field(100, ge=1, le=10_000, description="Number of grids.")
    depth: int = Field(8, ge=1, le=16, description="Cuts of a grid.")
    half_life: float = Field(100_000, gt=0, description="Events after which a count counts half.")


class Loda(_DetectorModel):
    """LODA: histograms of random projections (Pevný 2016)."""

    kind: Literal["loda"] = "loda"
    projections: int = Field(100, ge=1, le=10_000, description="Number of projections.")
    bins: int = Field(32, ge=4, le=1024, description="Bins of a histogram, over ±8.")
    half_life: float = Field(100_000, gt=0, description="Events after which a count counts half.")
    clip: float = Field(10.0, gt=0, description="Standardised inputs are clipped at ± this.")


class NearestNeighbours(_DetectorModel):
    """Distance to the nearest of a few remembered rows, averaged over small samples (LeSiNN)."""

    kind: Literal["nearest_neighbours"] = "nearest_neighbours"
    samples: int = Field(16, ge=1, le=1024, description="Number of samples.")
    sample_rows: int = Field(24, ge=1, le=1024, description="Rows of a sample.")
    half_life: float = Field(
        100_000,
        gt=0,
        description="Events after which half of the rows have been replaced; a memory of n rows "
        "takes at least .69 n for that.",
    )
    clip: float = Field(10.0, gt=0, description="Standardised inputs are clipped at ± this.")


class RandomFourier(_DetectorModel):
    """Mahalanobis distance of random Fourier features, with a ridge."""

    kind: Literal["random_fourier"] = "random_fourier"
    components: int = Field(100, ge=1, le=2000, description="Number of random features.")
    half_life: float = Field(100_000, gt=0, description="Events after which a moment counts half.")
    ridge: float = Field(0.1, gt=0, description="Ridge, as a share of the mean variance.")
    clip: float = Field(10.0, gt=0, description="Standardised inputs are clipped at ± this.")


class Ensemble(_DetectorModel):
    """The default: half-space forest, LODA, neighbours, Fourier features and the autoencoder."""

    kind: Literal["ensemble"] = "ensemble"
    half_life: float = Field(
        100_000, gt=0, description="Events after which a count counts half, in the members."
    )
    autoencoder: bool = Field(True, description="Whether the autoencoder is a member.")
    neighbours: bool = Field(True, description="Whether the nearest neighbours are a member.")
    refuse_share: float = Field(
        0.05, ge=0, lt=0.5, description="Share of highest-scoring rows the autoencoder refuses."
    )


DetectorConfig = Annotated[
    Autoencoder
    | Classifier
    | River
    | HalfSpaceForest
    | Loda
    | NearestNeighbours
    | RandomFourier
    | Ensemble,
    Discriminator("kind"),
]
