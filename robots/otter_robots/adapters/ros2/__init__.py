"""Otter Edge on a ROS 2 network: plans and acts as topics, with rclpy or over DDS without it."""
