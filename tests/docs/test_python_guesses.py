"""What engineers type who come from open_clip, transformers, sentence-transformers and scikit-learn: it works, or the
error says what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import GridSearchCV

import diptych as package
from diptych.api.loading import model_of
from diptych.core.errors import DiptychError
from diptych.tasks.label_maps.segmented import Segmented
from tests.support.colours import ColourBackbone, colour_folder

diptych: Any = package
"""As somebody types it whom no type checker helps."""


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load a backbone that knows colours under any name; the folder has three photos."""
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone(name=name))
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for colour in ("red", "blue", "white"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), colour).save(tmp_path / "photos" / f"{colour}.png")


def photos() -> list[Path]:
    return [Path("photos", f"{colour}.png") for colour in ("red", "blue", "red", "blue")]


def labels() -> list[str]:
    return ["red", "blue", "red", "blue"]


def model() -> Any:
    return model_of(ColourBackbone())


def pool() -> str:
    Path("texts.txt").write_text("a red cat\na blue dog\n")
    return "texts.txt"


def pairs() -> str:
    Path("pairs.csv").write_text("path,caption\nphotos/red.png,a red cat\nphotos/blue.png,a red cat\n")
    return "pairs.csv"


def results() -> Any:
    return diptych.classify("photos", ["red", "blue"], model())


def links() -> Any:
    for name, words in (("left", ("a red cat", "a blue dog")), ("right", ("red", "blue"))):
        Path(f"{name}.csv").write_text("\n".join(["id,text", *(f"{i},{w}" for i, w in enumerate(words))]))
    with pytest.warns(UserWarning, match="right or wrong"):
        return diptych.link("left.csv", "right.csv", model=model())


def board() -> Any:
    folder = colour_folder(Path("classes"), {"train": 2, "test": 2})
    return diptych.board(folder, model(), methods="zero-shot", shots=1, seeds=1)


def plan() -> Any:
    return diptych.curate(pairs(), method="clip-score", model=model())


def fitted() -> Any:
    return diptych.systems.LinearProbe(C=1.0).fit(model(), photos(), labels())


SEGMENTED: Any = Segmented("a.png", Image.new("RGB", (2, 2)), np.zeros((2, 2), np.uint8), ("red", "blue"))

WORKS: dict[str, Callable[[], Any]] = {
    "diptych.load('ViT-B-32')": lambda: diptych.load("ViT-B-32"),
    "diptych.load('ViT-B-32', pretrained=...)": lambda: diptych.load("ViT-B-32", pretrained="laion2b_s34b_b79k"),
    "diptych.load('hf:...', device='auto')": lambda: diptych.load("hf:openai/clip-vit-base-patch32", device="auto"),
    "model.encode_image(path)": lambda: model().encode_image(Path("photos/red.png")),
    "model.encode_image('folder')": lambda: model().encode_image("photos"),
    "model.encode_image([picture])": lambda: model().encode_image([Image.new("RGB", (8, 8))]),
    "model.encode_image(array)": lambda: model().encode_image(np.zeros((8, 8, 3), np.uint8)),
    "model.encode_image(batch_size=, progress=)": lambda: model().encode_image("photos", batch_size=2, progress=False),
    "model.encode_image(output='torch')": lambda: model().encode_image("photos", output="torch", device="cpu").shape,
    "model.encode_text('a cat')": lambda: model().encode_text("a red cat"),
    "model.encode_text(['a cat', 'a dog'])": lambda: model().encode_text(["a red cat", "a blue dog"]),
    "model.encode_text(normalize=False)": lambda: model().encode_text("a red cat", normalize=False),
    "model.similarity(photos, texts)": lambda: model().similarity("photos", ["red", "blue"]),
    "model.preprocess(picture)": lambda: model().preprocess(Image.new("RGB", (8, 8))),
    "model.tokenizer(['a cat'])": lambda: model().tokenizer(["red"]),
    "model.device, model.dim": lambda: (model().device, model().dim),
    "diptych.classify(folder, ['cat', 'dog'])": lambda: diptych.classify("photos", ["red", "blue"], "tiny"),
    "diptych.classify(folder, 'cat, dog')": lambda: diptych.classify("photos", "red, blue", "tiny"),
    "results[0].label": lambda: results()[0].label,
    "results[0].probability": lambda: results()[0].probability,
    "results.labels": lambda: results().labels,
    "results.paths": lambda: results().paths,
    "results.failed": lambda: results().failed,
    "results.to_pandas()": lambda: results().to_pandas(),
    "results.to_json()": lambda: results().to_json(),
    "for result in results": lambda: list(results()),
    "len(results)": lambda: len(results()),
    "diptych.list_models()": lambda: diptych.list_models("tiny"),
    "diptych.list_systems(verb='classify')": lambda: diptych.list_systems(verb="classify"),
    "diptych.systems.TipAdapterF(epochs=5)": lambda: diptych.systems.TipAdapterF(epochs=5),
    "diptych.systems.LinearProbe(C=1.0)": lambda: diptych.systems.LinearProbe(C=1.0),
    "clf.fit(model, X, y)": fitted,
    "clf.predict(X)": lambda: fitted().predict("photos"),
    "clf.predict_proba(X)": lambda: fitted().predict_proba("photos"),
    "clf.score(X, y)": lambda: fitted().score(photos(), labels()),
    "clf.classes_": lambda: fitted().classes_,
    "clf.get_params()": lambda: diptych.systems.GDA(alpha=1.0).get_params(),
    "diptych.index(folder).search('a cat')": lambda: diptych.index("photos", model=model()).search("red"),
    "diptych.search(index, 'a cat')": lambda: diptych.search(diptych.index("photos", model=model()), "red", model()),
    "diptych.search('a cat', index)": lambda: diptych.search("red", diptych.index("photos", model=model()), model()),
    "diptych.encode(folder).vectors": lambda: diptych.encode("photos", model=model()).vectors,
    "diptych.curate(file).apply(folder)": lambda: diptych.curate(pool()).apply("kept", t=1),
    "diptych.curate(file, method=, out=)": lambda: diptych.curate(pool(), method="caption-checks", out="plan").path,
    "diptych.curate(pathlib.Path(file))": lambda: diptych.curate(Path(pool())).as_dict(),
    "diptych.curate.plan(file)": lambda: diptych.curate.plan(pool()).data,
    "diptych.curate([file, file])": lambda: diptych.curate([pool(), pool()]),
    "plan.apply(out=, share=)": lambda: diptych.curate(pairs(), method="clip-score").apply(out="kept", share=0.5).kept,
    "curate.apply(file, plan, out)": lambda: diptych.curate.apply(pool(), diptych.curate(pool()), "kept").seen,
    "len(plan.apply(out))": lambda: len(diptych.curate(pool()).apply("kept")),
    "plan.apply(out).to_pandas()": lambda: diptych.curate(pool()).apply("kept").to_pandas(),
    "[row for row in board]": lambda: [row.metrics for row in board()],
    "board[:1]": lambda: board()[:1],
    "repr(board[0]) fits a screen": lambda: len(repr(board()[0])) < 1000 or None,
    "board.to_pandas().sort_values('acc1')": lambda: board().to_pandas().sort_values("acc1"),
    "for left, right, score in links": lambda: [left + right + score for left, right, score in links()],
    "link in links": lambda: ((found := links()) and (found[0] in found)) or None,
    "links.data['threshold'], len(links)": lambda: "threshold" in links().data and len(links()),
    "diptych.open_data(folder)": lambda: diptych.open_data("photos"),
    "model.similarity(embeddings, embeddings)": lambda: model().similarity(
        model().encode_image("photos"), diptych.encode(texts=["red", "blue"], model=model())
    ),
}
"""What is typed -> the same, run."""
LEADS: dict[str, tuple[Callable[[], Any], str]] = {
    "diptych.create_model_and_transforms": (lambda: diptych.create_model_and_transforms, r"use load\(name"),
    "diptych.create_model": (lambda: diptych.create_model, r"use load\(name"),
    "diptych.get_tokenizer": (lambda: diptych.get_tokenizer, r"\.tokenizer\(texts\)"),
    "diptych.list_pretrained": (lambda: diptych.list_pretrained, r"use list_models\(\)"),
    "diptych.CLIPModel": (lambda: diptych.CLIPModel, r"use load\(name"),
    "diptych.CLIPProcessor": (lambda: diptych.CLIPProcessor, r"\.preprocess\(photo\)"),
    "diptych.pipeline": (lambda: diptych.pipeline, r"use classify\(photos, names\)"),
    "diptych.SentenceTransformer": (lambda: diptych.SentenceTransformer, r"use load\(name"),
    "diptych.encode_image": (lambda: diptych.encode_image, r"use encode\(photos\)"),
    "diptych.TipAdapter": (lambda: diptych.TipAdapter, r"use diptych\.systems\.TipAdapter"),
    "diptych.filter": (lambda: diptych.filter, r"use curate\(pairs\)"),
    "diptych.dedup": (lambda: diptych.dedup, r"use curate\(pairs, method='semdedup'\)"),
    "diptych.curate(frame)": (lambda: diptych.curate({"path": []}), r"give a path, such as that of a table \(\.csv\)"),
    "plan.apply()": (lambda: diptych.curate(pool()).apply(), "give out="),
    "plan.apply(threshold=)": (
        lambda: diptych.curate(pool()).apply("kept", threshold=0.2), "does not read threshold=, but clip-score",
    ),
    "plan.report()": (lambda: diptych.curate(pool()).report(), "use data"),
    "kept.to_csv()": (lambda: diptych.curate(pool()).apply("kept").to_csv(), r"use to_pandas\(\)"),
    "diptych.models()": (lambda: diptych.models(), r"use list_models\(\)"),
    "diptych.systems()": (lambda: diptych.systems(), r"diptych\.list_systems\(verb=\.\.\.\) returns the names"),
    "diptych.get_system('gda')": (lambda: diptych.get_system("gda"), r"use systems\.NAME\(\)"),
    "diptych.clear_cache()": (lambda: diptych.clear_cache(), "use 'diptych cache prune' on the command line"),
    "diptych.show_versions()": (lambda: diptych.show_versions(), "use 'diptych doctor' on the command line"),
    "diptych.board('classify', folder)": (
        lambda: diptych.board("classify", "photos"), r"write diptych\.board\.classify\(\.\.\.\) for that step",
    ),
    "diptych.curate('apply', pairs)": (lambda: diptych.curate("apply", "p.csv"), r"write diptych\.curate\.apply\("),
    "model.embedding_dim": (lambda: model().embedding_dim, "use dim"),
    "model.embed('a cat')": (lambda: model().embed("a cat"), r"use encode_image\(photos\) or encode_text\(texts\)"),
    "diptych.clasify": (lambda: diptych.clasify, "use classify"),
    "diptych.train": (lambda: diptych.train_model, "no attribute 'train_model'"),
    "diptych.to_onnx": (lambda: diptych.to_onnx, r"use export\(model, out\)"),
    "model.export('folder')": (lambda: model().export("folder"), r"use diptych\.export\(model, out\)"),
    "model.save('folder')": (lambda: model().save("folder"), r"use diptych\.export\(model, out\)"),
    "diptych.export(model)": (lambda: diptych.export(model()), "diptych.export is missing a required argument: 'out'"),
    "diptych.export(model, out, to='tflite')": (
        lambda: diptych.export(model(), "made", to="tflite"), "takes onnx, openvino, int8, not 'tflite'",
    ),
    "diptych.export(model, 'photos')": (lambda: diptych.export(model(), "photos"), "photos holds other files"),
    "diptych.extend('photos')": (lambda: diptych.extend("photos"), "no class folders, so there is nothing to learn"),
    "diptych.extend(clips, model)": (lambda: diptych.extend("photos", model()), "out= is a path, not a Model"),
    "diptych.extend(clips, method='mean')": (
        lambda: diptych.extend("photos", method="mean"), "no system 'mean' of extend",
    ),
    "diptych.extend(clips, num_frames=4)": (
        lambda: diptych.extend("photos", num_frames=4), "takes no num_frames=: did you mean frames=",
    ),
    "diptych.encode(folder, 'tiny')": (lambda: diptych.encode("photos", "tiny"), "write model='tiny', or out='tiny'"),
    "diptych.search('a cat', folder)": (
        lambda: diptych.search("a cat", "photos"), r"in Python diptych\.index\('photos', 'photo-index'\)",
    ),
    "diptych.load('space:nowhere')": (lambda: diptych.load("space:nowhere"), "There is no folder nowhere"),
    "diptych.serve": (lambda: diptych.serve, "'diptych serve' on the command line"),
    "model, _, preprocess = diptych.load()": (lambda: [*model()], "use its preprocess and its tokenizer"),
    "model.get_image_features": (lambda: model().get_image_features, r"use encode_image\(photos\)"),
    "model.encode(photos)": (lambda: model().encode, r"encode_image\(photos\) or encode_text"),
    "model(pixels)": (lambda: model()("photos"), r"use encode_image\(photos\)"),
    "model.to('cuda')": (lambda: model().to, r"diptych\.load\(name, device=\.\.\.\)"),
    "model.half()": (lambda: model().half, "precision='fast'"),
    "model.logit_scale": (lambda: model().logit_scale, r"use scale\(\)"),
    "model.state_dict()": (lambda: model().state_dict, r"module\(\)\.state_dict\(\)"),
    "model.encode_image(3.5)": (lambda: model().encode_image(3.5), "Photos cannot be of the type float: give a path"),
    "model.encode_text(array)": (lambda: model().encode_text(np.zeros(3)), "give texts as they are"),
    "results.to_csv()": (lambda: results().to_csv, r"use to_pandas\(\)"),
    "results['red.png']": (lambda: results()["red.png"], "give a position"),
    "diptych.systems.TipAdapter_F": (lambda: diptych.systems.TipAdaptor, "the nearest is TipAdapter"),
    "diptych.systems.GDA().predict(X)": (lambda: diptych.systems.GDA().predict, r"GDA\(\.\.\.\)\.fit\(\.\.\.\)"),
    "diptych.systems.GDA(beta=1)": (lambda: diptych.systems.GDA(beta=1), "no parameter 'beta'; its parameters are"),
    "diptych.systems.GDA().set_params(alpha=1)": (lambda: diptych.systems.GDA().set_params, "SystemClassifier"),
    "clf.fit(X, y), X of vectors": (lambda: diptych.systems.GDA().fit(np.zeros((2, 4)), [0, 1]), "EmbeddingClassifier"),
    "diptych.classify(f, names, prompt=)": (
        lambda: diptych.classify("photos", ["red"], prompt="a {}"), "takes no prompt=: did you mean templates=",
    ),
    "diptych.generate(prompt=)": (lambda: diptych.generate(prompt="a bus"), "takes no prompt=: did you mean texts="),
    "diptych.find_duplicates": (lambda: diptych.find_duplicates, r"'find_duplicates': dir\(diptych\) lists"),
    "diptych.Model('lite')": (lambda: diptych.Model("lite"), r"A model is loaded, as in diptych\.load\('lite'\)"),
    "diptych.encode(folder).numpy()": (
        lambda: diptych.encode("photos", model=model()).numpy(), "An Embeddings has no 'numpy': use it as it is",
    ),
    "diptych.encode('a dog')": (lambda: diptych.encode("a dog"), r"no file or folder a dog: .*; words go to texts=\."),
    "diptych.encode(folder, 'vectors.npy')": (
        lambda: diptych.encode("photos", "vectors.npy", model()), r"out= is a folder of several files, .*without \.npy",
    ),
    "diptych.classify(f, 'cat', model, 'zero-shot')": (
        lambda: diptych.classify("photos", "red", model(), "zero-shot"),
        "diptych.classify takes photos, names, model by position: write the name before 'zero-shot', one of templates=",
    ),
    "diptych.classify(f, classifier='ViT-B-32')": (
        lambda: diptych.classify("photos", classifier="ViT-B-32"), "ViT-B-32 the name of a model: give it as backbone=",
    ),
    "diptych.open_data(folder, split='test')": (
        lambda: diptych.open_data("photos", split="test"), r"takes no split=: take one of what is returned: open_data",
    ),
    "diptych.open_data(folder, 'test')": (
        lambda: diptych.open_data("photos", "test"), r"open_data takes data by position: write the name before 'test'",
    ),
    "diptych.open_data(folder, root=)": (lambda: diptych.open_data(root="photos"), "did you mean data="),
    "results[0].mask": (lambda: SEGMENTED.mask, "A Segmented has no 'mask': use labels"),
    "clf.fit(folder)": (lambda: diptych.systems.GDA().fit("photos"), r"comes before the photos, as in fit\('lite', "),
    "GridSearchCV(system, {...}, scoring='accuracy').fit(X, y)": (
        lambda: GridSearchCV(diptych.systems.GDA(), {"alpha": [1.0]}, scoring="accuracy").fit(photos(), labels()),
        r"In scikit-learn, as in a grid search, use diptych\.sklearn\.SystemClassifier\(GDA",
    ),
    "diptych.systems.GDA().score(X, y)": (
        lambda: diptych.systems.GDA().score(photos(), labels()), r"use what fit returns, GDA\(\.\.\.\)\.fit",
    ),
    "diptych.list_systems('clasify')": (lambda: diptych.list_systems("clasify"), "the verbs are audit"),
    "diptych.classify(model, folder, names)": (
        lambda: diptych.classify(model(), "photos", ["red"]), "begins with photos, and takes a loaded model as model=",
    ),
    "diptych.finetune(model, folder)": (lambda: diptych.finetune(model(), "photos"), "finetune begins with data"),
    "diptych.board(data, classifiers=)": (lambda: diptych.board("photos", classifiers=1), "did you mean methods="),
    "diptych.board(data, random_state=)": (lambda: diptych.board("photos", random_state=0), "did you mean seeds="),
    "diptych.board(data, cv=5)": (lambda: diptych.board("photos", cv=5), "takes no cv=: leave it out, for boards"),
    "board.best_params_": (lambda: board().best_params_, r"use to_pandas\(\), whose rows can be sorted"),
    "board.rows": (lambda: board().rows, r"use the board itself, as in board\[0\], or data\['rows'\]"),
    "board.sort_values('acc1')": (lambda: board().sort_values("acc1"), r"use to_pandas\(\)\.sort_values"),
    "board.method": (lambda: board().method, r"use \[item\.method for item in results\]"),
    "'gda' in board": (lambda: "gda" in board(), r"Results hold a Row each: look for 'gda' in to_pandas\(\)"),
    "links.scores": (lambda: links().scores, r"use \[item\.score for item in results\]"),
    "links.threshold": (lambda: links().threshold, r"use data\['threshold'\]"),
    "links.matches": (lambda: links().matches, r"as in results\[0\]"),
    "('a', 'b') in links": (lambda: ("a", "b") in links(), "Results hold a Link each"),
    "diptych.link(frame, frame)": (lambda: diptych.link(np.zeros(3), "r.csv"), "this is a ndarray: give a path"),
    "diptych.link([text], [text])": (lambda: diptych.link(["a"], ["b"]), "a folder or a tar, and this is a list"),
    "diptych.link(left_on=)": (lambda: diptych.link("a.csv", "b.csv", left_on="t"), "did you mean text_columns="),
    "diptych.link(how='inner')": (lambda: diptych.link("a.csv", "b.csv", how="inner"), "leave it out, for every link"),
    "diptych.merge": (lambda: diptych.merge, r"use link\(left, right\)"),
    "diptych.Trainer": (lambda: diptych.Trainer, r"use finetune\(data, out, model\)"),
    "diptych.finetune(num_train_epochs=)": (
        lambda: diptych.finetune("photos", "o", num_train_epochs=1), "did you mean epochs=",
    ),
    "diptych.pretrain(resume_from_checkpoint=)": (
        lambda: diptych.pretrain("photos", "o", resume_from_checkpoint=True), "did you mean resume=",
    ),
    "diptych.export(model, out, format=)": (lambda: diptych.export(model(), "o", format="onnx"), "did you mean to="),
    "diptych.export(model, out, opset=)": (lambda: diptych.export(model(), "o", opset=17), "batches of any size"),
    "diptych.extend(folder, modality=)": (lambda: diptych.extend("photos", modality="video"), "read from the samples"),
    "plan['texts']": (lambda: plan()["texts"], r"neither rows nor keys: use data\['texts'\]"),
    "for pair in plan": (lambda: list(plan()), r"use apply\(out=\.\.\.\)\.to_pandas\(\)"),
    "for pair in kept": (lambda: list(plan().apply(out="kept", share=0.5)), r"rows nor keys: use to_pandas\(\)"),
    "kept.dropped": (lambda: plan().apply(out="kept", share=0.5).dropped, "use data, which has the number"),
    "diptych.classify(f, names, method='tip')": (
        lambda: diptych.classify("photos", ["red"], model(), method="tip"), "the nearest names are",
    ),
}  # fmt: skip
"""What is typed -> the same, run, and what its error says."""


@pytest.mark.parametrize("typed", WORKS)
def test_it_works(typed: str) -> None:
    assert WORKS[typed]() is not None


@pytest.mark.parametrize("typed", LEADS)
def test_the_error_says_what_to_write_instead(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(diptych, "serve", raising=False)  # a package that another test has imported
    run, sentence = LEADS[typed]
    with pytest.raises((AttributeError, TypeError, DiptychError), match=sentence):
        run()
