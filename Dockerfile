# syntax=docker/dockerfile:1
# Two images: `bots` (web page, platforms, reaper, migrations; no PyTorch) and `worker` (PyTorch with CUDA).
#   docker build --target bots .    docker build --target worker .

ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS wheel
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /wheel .

FROM python:${PYTHON} AS install
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /app
COPY constraints.txt /
COPY --from=wheel /wheel /wheel

FROM install AS install-bots
RUN --mount=type=cache,target=/root/.cache/pip \
    /app/bin/pip install --constraint /constraints.txt "pajama[bots] @ file://$(echo /wheel/*.whl)"

FROM install AS install-worker
# Empty: the CUDA build. PyTorch's CPU-only index makes an image for machines without a GPU.
ARG PAJAMA_TORCH_INDEX=""
RUN --mount=type=cache,target=/root/.cache/pip \
    /app/bin/pip install ${PAJAMA_TORCH_INDEX:+--extra-index-url "$PAJAMA_TORCH_INDEX"} \
    --constraint /constraints.txt "pajama[worker] @ file://$(echo /wheel/*.whl)"

FROM python:${PYTHON} AS run
RUN useradd --uid 10001 --user-group --create-home --home-dir /home/pajama pajama \
    && install --directory --owner pajama --group pajama /data /models
ENV PATH=/app/bin:$PATH \
    HF_HOME=/models \
    PAJAMA_DATA_DIR=/data \
    PAJAMA_LOG_FORMAT=json \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /data
USER 10001:10001
ENTRYPOINT ["pajama"]

FROM run AS bots
COPY --from=install-bots /app /app
ENV PAJAMA_WEB_HOST=0.0.0.0
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --start-interval=3s --retries=3 \
    CMD ["pajama", "health", "web"]
CMD ["bot", "web"]

FROM run AS worker
COPY --from=install-worker /app /app
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --start-interval=3s --retries=3 \
    CMD ["pajama", "health", "worker"]
CMD ["worker"]
