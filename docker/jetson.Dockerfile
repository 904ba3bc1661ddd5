# The node on a Jetson with JetPack 6, whose TensorRT builds the engines:
#   docker build -f docker/jetson.Dockerfile -t alstm_ros:jetson .
#   docker run --rm --runtime nvidia --network host --ipc host -v alstm-engines:/root/.cache/alstm_ros alstm_ros:jetson
# The volume keeps the engines that were built. r36.3.0 is JetPack 6.0; name another with --build-arg L4T=...
ARG L4T=r36.3.0
FROM nvcr.io/nvidia/l4t-jetpack:${L4T}
ENV DEBIAN_FRONTEND=noninteractive ROS_DISTRO=humble
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# JetPack 6 is Ubuntu 22.04, for which ROS 2 Humble has packages: https://docs.ros.org/en/humble/Installation.html
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl gnupg \
    && curl -fsSL https://raw.githubusercontent.com/ros/rosdistro/master/ros.key -o /usr/share/keyrings/ros.gpg \
    && echo "deb [arch=$(dpkg --print-architecture) signed-by=/usr/share/keyrings/ros.gpg]" \
        "http://packages.ros.org/ros2/ubuntu jammy main" > /etc/apt/sources.list.d/ros2.list \
    && apt-get update \
    && apt-get install --yes --no-install-recommends \
        python3-colcon-common-extensions python3-libnvinfer python3-pip python3-rosdep ros-humble-ros-base \
    && rosdep init \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /ws
COPY . src/alstm_ros
# hadolint ignore=DL3008
RUN apt-get update \
    && rosdep update --rosdistro humble \
    && rosdep install --from-paths src --ignore-src --default-yes --rosdistro humble \
    && python3 -m pip install --no-cache-dir 'cuda-python<13' onnx==1.17.0 \
    && rm -rf /var/lib/apt/lists/*
RUN source /opt/ros/humble/setup.bash \
    && colcon build --packages-select alstm_ros --merge-install
COPY --chmod=755 docker/entrypoint /entrypoint
ENTRYPOINT ["/entrypoint"]
CMD ["ros2", "launch", "alstm_ros", "alstm.launch.py"]
