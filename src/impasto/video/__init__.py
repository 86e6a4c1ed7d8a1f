"""Films: frames in and out with their times and their sound, optical flow, steadiness, and a film as a job."""
