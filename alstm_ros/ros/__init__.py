"""The ROS 2 node: messages in, the pipeline, messages out. The only home of rclpy."""
