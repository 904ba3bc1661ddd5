# The node on a robot with a CPU, or with an NVIDIA GPU through ONNX Runtime:
#   docker build -f docker/robot.Dockerfile -t alstm_ros .
#   docker run --rm --network host --ipc host alstm_ros ros2 launch alstm_ros alstm.launch.py image:=/camera/image_raw
# --ipc host shares Fast DDS's memory with a camera outside of the container.
ARG ROS_DISTRO=jazzy
# hadolint ignore=DL3006
FROM ros:${ROS_DISTRO}-ros-base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /ws
COPY . src/alstm_ros
# What rosdep has to install is known from package.xml alone; pip may write beside Ubuntu's packages, the image is ours.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip \
    && PIP_BREAK_SYSTEM_PACKAGES=1 rosdep install --from-paths src --ignore-src --default-yes \
    && rm -rf /var/lib/apt/lists/*
RUN source "/opt/ros/${ROS_DISTRO}/setup.bash" \
    && colcon build --packages-select alstm_ros --merge-install
COPY --chmod=755 docker/entrypoint /entrypoint
ENTRYPOINT ["/entrypoint"]
CMD ["ros2", "launch", "alstm_ros", "alstm.launch.py"]
