"""A vision transformer supernet on ImageNet, after AutoFormer-S.

    nas run experiments.imagenet_vit --data.path /data/imagenet

Elastic in depth, width, heads and feed-forward size: 10 to 26 million parameters, on
224 pixels. The data is a folder of `train/CLASS/*.JPEG` and `val/CLASS/*.JPEG`; from
records instead, which many readers share better, with
`--data:array-records --data.path DIR` and the same options.

Meant for eight accelerators of 40 GB, whose number is found out by itself: a batch of
1024 in bfloat16, 300 epochs as in AutoFormer (Chen 2021, section 4.1). `nas show` tells
memory and time of the devices at hand. On several machines start the same line on each
with `--coordinator`, see `nas run --help`.

Expected: AutoFormer-S reaches 81.7% with 22.9 million parameters (Chen 2021, Table 8),
trained with mixtures of images that this recipe leaves out. Not measured.
"""

from nas import (
    AdamW,
    Augmentation,
    Cosine,
    Distillation,
    Experiment,
    ImageFolder,
    Latency,
    Losses,
    Nsga2,
    Reading,
    Regularization,
    Sandwich,
    Search,
    Training,
    VisionTransformer,
    progressive,
)

IMAGES, EPOCHS, BATCH = 1_281_167, 300, 1024

model = VisionTransformer(
    image=(224, 224, 3),
    patch=16,
    classes=1000,
    width=(256, 320, 384),
    heads=(4, 5, 6),
    ffn=(1024, 1280, 1536),
    depth=(12, 13, 14),
    head_dim=64,
    pooling="token",
)

experiment = Experiment(
    model=model,
    data=ImageFolder(
        path="data/imagenet",
        side=224,
        classes=1000,
        augmentation=Augmentation(
            crop=0.08,
            flip=0.5,
            brightness=0.4,
            contrast=0.4,
            saturation=0.4,
            erase=0.25,
        ),
    ),
    train=Training(
        steps=EPOCHS * IMAGES // BATCH,
        batch=BATCH,
        phases=progressive(
            model.space(),
            policy=Sandwich(random=2),
            losses=Losses(taught=Distillation(share=0.5)),
        ),
        regularization=Regularization(drop_path=0.1),
        optimizer=AdamW(
            learning_rate=1e-3,
            beta2=0.999,
            weight_decay=0.05,
            decayed="matrices",
            schedule=Cosine(warmup=20 / EPOCHS, floor=0.01),
        ),
        average=0.9999,
        compute="bfloat16",
        remat="dots",
        reading=Reading(threads=8, ahead=4, workers=8),
        validate_every=1000,
        checkpoint_every=1000,
    ),
    latency=Latency(batch=1, fit=40, held_out=20),
    search=Search(
        algorithm=Nsga2(population=64),
        evaluations=2048,
        objectives=("error", "latency_ms"),
        constraints=("latency_ms <= 70%",),
        examples=10_000,
        candidates=24,
    ),
)
