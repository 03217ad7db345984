# %% [markdown]
# # The lab from Python
#
# Cut a network, deploy it, listen, attack, look at the images. Every name is one of `bench.lab`;
# docs/python.md says what they are. It takes about ten seconds on one core. Jupyter (with
# jupytext), VS Code and Spyder open it as a notebook; `python examples/notebook.py` runs it.

# %%
from pathlib import Path
from tempfile import mkdtemp

import bench.lab as lab

place = Path(mkdtemp(prefix="splitlab-"))

# %% [markdown]
# ## Where can a network be cut?

# %%
splits = lab.load_splits("photo-patches", limits={"train": 600})
arch = lab.ArchSpec(name="tiny_cnn", classes=len(splits.classes))
for point in lab.split_points(lab.build(arch, seed=0), arch.input.shape):
    print(f"{point.name:10} {point.shape!s:16} {point.bytes_per_image} bytes")

# %% [markdown]
# ## Train it, cut it behind its second block, write the two halves
#
# Noise of a standard deviation of 0.05 acts on every feature.

# %%
secret, noise = lab.Secret.new(), lab.parse("gaussian:level=0.05")
recipe = lab.TrainRecipe(epochs=1)
order = lab.Order(arch, "block2", None, splits.train, recipe, seed=0, secret=secret, device="cpu")
halves = lab.prepare(noise, order)
written = {"defended": noise, "secret": secret, "classes": splits.classes}
lab.write_deployment(place / "deployment", halves, **written)

# %% [markdown]
# ## Send 32 victims through a real client and server, and listen at the server

# %%
victims = splits.victims.take(32, 0)
seen, truth = lab.overhear(place / "deployment", victims, place / "capture")
print(f"{len(seen.ids)} features of {tuple(seen.features.shape[1:])} were seen")

# %% [markdown]
# ## Attack: all that the adversary knows is in `threat`

# %%
request = lab.GrantRequest(auxiliary=300, observe=300)
threat = lab.make_threat(place / "deployment", request, splits, seed=0)
decoder = lab.ATTACKS.load("decoder").configured({"epochs": 1})
outcome = lab.run_attack(decoder, threat, seen, lab.generator(0, "attack"))
floor = lab.mean_image(threat.aux.images).expand_as(truth)

# %% [markdown]
# ## The same method as a pure function of tensors

# %%
queries = threat.observe
learned = lab.fit_decoder(queries.images.images, queries.features, lab.generator(1), decoder)
again = learned(seen.features)

# %% [markdown]
# ## How much came back?

# %%
answers = {"attack": outcome.estimate.values, "function": again, "floor": floor}
reached = {name: float(lab.psnr(truth, images).mean()) for name, images in answers.items()}
print(", ".join(f"{name} {value:.1f} dB" for name, value in reached.items()))
lab.save_grid(place / "images.png", truth, outcome.estimate.values)
print(f"victims above, reconstructions below: {place / 'images.png'}")
