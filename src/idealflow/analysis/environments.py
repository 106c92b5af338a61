"""Maps of atomic environments: descriptors brought down to two dimensions."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import InputError, MissingExtraError

__all__ = ["map_environments"]


def map_environments(
    vectors: ArrayLike, method: Literal["pca", "tsne"] = "pca", *, seed: int = 0, perplexity: float = 30.0
) -> NDArray[np.float64]:
    """Map descriptor vectors to points of a plane, so that similar environments lie close together.

    Parameters
    ----------
    vectors : (n, n_features)
        One row an environment, n at least 3.
    method
        ``"pca"``: the two directions of largest variance, signs fixed so that the largest loading is positive.
        ``"tsne"``: scikit-learn's t-SNE on up to 50 principal components; needs the ``tsne`` extra.
    seed, perplexity
        Settings of t-SNE; the perplexity is lowered to (n − 1) / 3 where it is larger.

    Returns
    -------
    (n, 2) array

    Raises
    ------
    InputError
        If the vectors are too few or not finite.
    MissingExtraError
        If t-SNE is asked for without scikit-learn.

    Examples
    --------
    Three points on a line vary in one direction only:

    >>> map_environments([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]).round(3) + 0.0
    array([[-1.414,  0.   ],
           [ 0.   ,  0.   ],
           [ 1.414,  0.   ]])
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] < 3 or rows.shape[1] < 2 or not np.isfinite(rows).all():
        raise InputError(f"a map needs at least 3 finite vectors of at least 2 features, got shape {rows.shape}")
    if method == "pca":
        return _components(rows, 2)
    if method != "tsne":
        raise InputError(f"`method` is 'pca' or 'tsne', got {method!r}")
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise MissingExtraError("t-SNE maps need scikit-learn: pip install 'idealflow[tsne]'") from error
    reduced = _components(rows, min(50, *rows.shape))
    allowed = min(perplexity, (len(rows) - 1) / 3.0)
    tsne = TSNE(n_components=2, perplexity=allowed, random_state=seed, init="pca")
    return np.asarray(tsne.fit_transform(reduced), dtype=np.float64)


def _components(rows: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    centred = rows - rows.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    chosen = directions[:n]
    largest = chosen[np.arange(n), np.abs(chosen).argmax(axis=1)]
    return np.asarray(centred @ (chosen * np.sign(largest)[:, None]).T)
